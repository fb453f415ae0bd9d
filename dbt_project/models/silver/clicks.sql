{%- set payload = {
    'event_ts': 'timestamp', 'user_id': 'text', 'campaign_id': 'text', 'conversion_type': 'text',
    'creative_id': 'text', 'impression_id': 'text', 'url': 'text', 'source_price_micros': 'text',
    'currency_code': 'text', 'ip': 'text', 'user_agent': 'text', 'country': 'text', 'device': 'text',
    'consent': 'text',
} -%}

with staged as (
    select * from {{ ref('stg_clicks') }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

advertisers as (
    select * from {{ lake_all(ref('advertisers')) }}
),

fx_rates as (
    select * from {{ lake_all(ref('fx_rates')) }}
),

{{ deduplicate(payload) }},

in_campaign as (
    select * from deduplicated
),

{{ campaign_context() }},

{{ rates_of_days() }},

{{ price_events('in_report.source_price_micros is not null') }},

{{ judge_user_agents() }}

select
    cast(events.event_id as string) as event_id,
    cast(events.parent_event_id as string) as parent_event_id,
    cast(events.event_ts as {{ timestamp_type() }}) as event_ts,
    cast(events.user_id as string) as user_id,
    cast(events.campaign_id as string) as campaign_id,
    cast(events.advertiser_id as string) as advertiser_id,
    cast(events.creative_id as string) as creative_id,
    cast(events.impression_id as string) as impression_id,
    cast(events.click_window_days as integer) as click_window_days,
    cast(events.url as string) as url,
    cast({{ in_own_currency('events.source_price_micros') }} as bigint) as price_micros,
    cast(events.source_price_micros as bigint) as source_price_micros,
    {{ event_columns() }}
from events
