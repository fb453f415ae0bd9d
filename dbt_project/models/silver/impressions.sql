{%- set payload = {
    'event_ts': 'timestamp', 'creative_id': 'text', 'user_id': 'text', 'site': 'text', 'url': 'text',
    'auction_id': 'text', 'viewable': 'text', 'source_price_micros': 'text', 'currency_code': 'text', 'ip': 'text',
    'user_agent': 'text', 'country': 'text', 'device': 'text', 'consent': 'text',
} -%}

with staged as (
    select * from {{ ref('stg_impressions') }}
),

creatives as (
    select * from {{ lake_all(ref('creatives')) }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

advertisers as (
    select * from {{ lake_all(ref('advertisers')) }}
),

sites as (
    select * from {{ lake_all(ref('sites')) }}
),

fx_rates as (
    select * from {{ lake_all(ref('fx_rates')) }}
),

{{ deduplicate(payload) }},

in_campaign as (
    select
        deduplicated.*,
        creatives.campaign_id
    from deduplicated
    left join creatives
        on deduplicated.creative_id = creatives.creative_id and {{ holds_at('creatives', 'deduplicated.event_ts') }}
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
    cast(events.creative_id as string) as creative_id,
    cast(events.campaign_id as string) as campaign_id,
    cast(events.advertiser_id as string) as advertiser_id,
    cast(events.view_window_days as integer) as view_window_days,
    cast({{ lower_code('events.site') }} as string) as site,
    cast(sites.publisher as string) as publisher,
    cast(sites.category as string) as site_category,
    cast(events.url as string) as url,
    cast(events.auction_id as string) as auction_id,
    cast(events.viewable as boolean) as viewable,
    cast({{ in_own_currency('events.source_price_micros') }} as bigint) as price_micros,
    cast(events.source_price_micros as bigint) as source_price_micros,
    {{ event_columns() }}
from events
left join sites
    on {{ lower_code('events.site') }} = sites.site and {{ holds_at('sites', 'events.event_ts') }}
