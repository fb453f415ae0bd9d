{{ config(materialized='ephemeral') }}

with impressions as (
    select * from {{ lake_days(ref('impressions'), before=var('max_view_window_days')) }}
),

clicks as (
    select * from {{ lake_days(ref('clicks'), before=var('max_click_window_days')) }}
)

select
    cast(event_id as string) as touch_id,
    cast('impression' as string) as touch_type,
    cast(event_ts as {{ timestamp_type() }}) as touch_ts,
    cast(user_id as string) as user_id,
    cast(campaign_id as string) as campaign_id,
    cast(creative_id as string) as creative_id,
    cast({{ credit_owner('advertiser_id', 'campaign_id') }} as string) as owner,
    cast(view_window_days as integer) as window_days,
    cast(ivt_reason as string) as ivt_reason
from impressions
where campaign_id is not null
union all
select
    cast(event_id as string) as touch_id,
    cast('click' as string) as touch_type,
    cast(event_ts as {{ timestamp_type() }}) as touch_ts,
    cast(user_id as string) as user_id,
    cast(campaign_id as string) as campaign_id,
    cast(creative_id as string) as creative_id,
    cast({{ credit_owner('advertiser_id', 'campaign_id') }} as string) as owner,
    cast(click_window_days as integer) as window_days,
    cast(ivt_reason as string) as ivt_reason
from clicks
