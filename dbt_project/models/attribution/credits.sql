with conversions as (
    select * from {{ lake_days(ref('conversions')) }}
),

paths as (
    select * from {{ lake_days(ref('paths')) }}
),

traffics as (
    select 'gross' as traffic
    union all
    select 'net' as traffic
),

models as (
    {%- for model in var('attribution_models') %}
    select '{{ model }}' as model
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

counted as (
    select
        conversions.event_date,
        conversions.event_id,
        conversions.event_ts,
        conversions.conversion_type,
        conversions.campaign_id,
        conversions.advertiser_id,
        conversions.ivt_reason,
        conversions.order_revenue_micros,
        conversions.currency,
        conversions.report_date,
        traffics.traffic,
        models.model
    from conversions
    cross join traffics
    cross join models
    where conversions.counted
),

ranked as (
    select
        *,
        coalesce(
            max(case when touch_type = 'click' then position end)
                over (partition by event_date, conversion_id, traffic),
            path_length
        ) as last_position
    from paths
),

weighed as (
    select
        ranked.*,
        models.model,
        cast(case models.model
            {%- for model in var('attribution_models') %}
            when '{{ model }}' then {{ model_weight(model) }}
            {%- endfor %}
        end as bigint) as weight
    from ranked
    cross join models
),

summed as (
    select
        *,
        cast(sum(weight) over (partition by event_date, conversion_id, traffic, model) as bigint) as weights
    from weighed
    where weight > 0
),

{{ share_out(
    'summed', 'shared', total='1000000000', weight='weight', weights='weights', share='credit_billionths',
    within='event_date, conversion_id, traffic, model', ties='touch_id, touch_type, touch_ts'
) }},

earned as (
    select
        counted.*,
        shared.touch_id,
        shared.touch_type,
        shared.touch_ts,
        shared.campaign_id as touch_campaign_id,
        shared.creative_id,
        shared.position,
        shared.path_length,
        coalesce(shared.credit_billionths, 1000000000) as credit_billionths,
        abs(counted.order_revenue_micros) as revenue_to_share
    from counted
    left join shared
        on
            counted.event_date = shared.event_date
            and counted.event_id = shared.conversion_id
            and counted.traffic = shared.traffic
            and counted.model = shared.model
),

{{ share_out(
    'earned', 'valued', total='revenue_to_share', weight='credit_billionths', weights='1000000000', share='revenue',
    within='event_date, event_id, traffic, model', ties='touch_id, touch_type, touch_ts'
) }}

select
    cast(event_id as string) as conversion_id,
    cast(event_ts as {{ timestamp_type() }}) as conversion_ts,
    cast(conversion_type as string) as conversion_type,
    cast(campaign_id as string) as conversion_campaign_id,
    cast(advertiser_id as string) as advertiser_id,
    cast(ivt_reason as string) as conversion_ivt_reason,
    cast(model as string) as model,
    cast(traffic as string) as traffic,
    cast(touch_id as string) as touch_id,
    cast(touch_type as string) as touch_type,
    cast(touch_ts as {{ timestamp_type() }}) as touch_ts,
    cast(touch_campaign_id as string) as campaign_id,
    cast(creative_id as string) as creative_id,
    cast(position as integer) as position,
    cast(path_length as integer) as path_length,
    cast(credit_billionths as bigint) as credit_billionths,
    cast(case when order_revenue_micros < 0 then -revenue else revenue end as bigint) as revenue_micros,
    cast(currency as string) as currency,
    cast(report_date as date) as report_date,
    cast(event_date as date) as event_date
from valued
