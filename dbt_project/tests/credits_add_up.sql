-- Credits of a conversion under one model add up to exactly one conversion, their revenue to the conversion's.
with credits as (
    select
        event_date,
        conversion_id,
        model,
        traffic,
        sum(credit_billionths) as credit_billionths,
        sum(revenue_micros) as revenue_micros
    from {{ ref('credits') }}
    group by event_date, conversion_id, model, traffic
)

select
    conversions.event_date,
    conversions.event_id,
    credits.model,
    credits.traffic,
    credits.credit_billionths,
    credits.revenue_micros,
    conversions.order_revenue_micros
from {{ ref('conversions') }} as conversions
left join credits
    on conversions.event_date = credits.event_date and conversions.event_id = credits.conversion_id
where
    conversions.counted
    and (
        credits.conversion_id is null
        or credits.credit_billionths <> 1000000000
        or credits.revenue_micros <> conversions.order_revenue_micros
    )
