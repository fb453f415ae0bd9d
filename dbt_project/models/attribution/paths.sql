with conversions as (
    select * from {{ lake_days(ref('conversions')) }}
),

touchpoints as (
    select * from {{ ref('touchpoints') }}
),

counted as (
    select
        event_date,
        event_id,
        event_ts,
        user_id,
        {{ credit_owner('advertiser_id', 'campaign_id') }} as owner
    from conversions
    where counted
),

eligible as (
    select
        counted.event_date,
        counted.event_id as conversion_id,
        counted.event_ts as conversion_ts,
        touchpoints.touch_id,
        touchpoints.touch_type,
        touchpoints.touch_ts,
        touchpoints.campaign_id,
        touchpoints.creative_id,
        touchpoints.ivt_reason
    from counted
    inner join touchpoints
        on
            counted.user_id = touchpoints.user_id
            and counted.owner = touchpoints.owner
            and counted.event_ts >= touchpoints.touch_ts
            and {{ epoch_us('counted.event_ts') }} - {{ epoch_us('touchpoints.touch_ts') }}
            <= {{ days_in_us('touchpoints.window_days') }}
),

by_traffic as (
    select
        eligible.*,
        'gross' as traffic
    from eligible
    union all
    select
        eligible.*,
        'net' as traffic
    from eligible
    where ivt_reason is null
)

select
    cast(conversion_id as string) as conversion_id,
    cast(conversion_ts as {{ timestamp_type() }}) as conversion_ts,
    cast(traffic as string) as traffic,
    cast(row_number() over (
        partition by event_date, conversion_id, traffic order by touch_ts, touch_id, touch_type
    ) as integer) as position,
    cast(count(*) over (partition by event_date, conversion_id, traffic) as integer) as path_length,
    cast(touch_id as string) as touch_id,
    cast(touch_type as string) as touch_type,
    cast(touch_ts as {{ timestamp_type() }}) as touch_ts,
    cast(campaign_id as string) as campaign_id,
    cast(creative_id as string) as creative_id,
    cast(ivt_reason as string) as ivt_reason,
    cast(event_date as date) as event_date
from by_traffic
