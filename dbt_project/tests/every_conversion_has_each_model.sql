-- Each counted conversion is credited once by each model, for gross and for net traffic; no other conversion is.
with counted as (
    select
        event_date,
        event_id
    from {{ ref('conversions') }}
    where counted
)

select
    coalesce(conversions.event_date, credits.event_date) as event_date,
    coalesce(conversions.event_id, credits.conversion_id) as conversion_id,
    count(distinct credits.model || ' ' || credits.traffic) as found
from counted as conversions
full join {{ ref('credits') }} as credits
    on conversions.event_date = credits.event_date and conversions.event_id = credits.conversion_id
group by
    coalesce(conversions.event_date, credits.event_date),
    coalesce(conversions.event_id, credits.conversion_id)
having
    count(distinct credits.model || ' ' || credits.traffic) <> {{ 2 * var('attribution_models') | length }}
    or count(conversions.event_id) = 0
