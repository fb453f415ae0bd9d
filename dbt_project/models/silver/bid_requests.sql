{%- set payload = {
    'event_ts': 'timestamp', 'user_id': 'text', 'user_segments': 'list', 'auction_id': 'text',
    'auction_type': 'text', 'site': 'text', 'source_floor_micros': 'text', 'source_bid_micros': 'text',
    'won': 'text', 'source_price_micros': 'text', 'currency_code': 'text', 'bid_campaign_id': 'text',
    'creative_id': 'text', 'targeting': 'list', 'ip': 'text', 'user_agent': 'text', 'country': 'text',
    'device': 'text', 'consent': 'text',
} -%}

with staged as (
    select * from {{ ref('stg_bid_requests') }}
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
        coalesce(deduplicated.bid_campaign_id, creatives.campaign_id) as campaign_id,
        deduplicated.source_bid_micros is not null or coalesce(deduplicated.won, false) as has_bid,
        case when deduplicated.won then deduplicated.source_price_micros end as source_clearing_micros
    from deduplicated
    left join creatives
        on deduplicated.creative_id = creatives.creative_id and {{ holds_at('creatives', 'deduplicated.event_ts') }}
),

{{ campaign_context() }},

{{ rates_of_days() }},

{{ price_events(
    'coalesce(in_report.source_floor_micros, in_report.source_bid_micros, in_report.source_clearing_micros) is not null'
) }},

{{ judge_user_agents() }}

select
    cast(events.event_id as string) as event_id,
    cast(events.parent_event_id as string) as parent_event_id,
    cast(events.event_ts as {{ timestamp_type() }}) as event_ts,
    cast(events.user_id as string) as user_id,
    cast(events.user_segments as {{ text_list_type() }}) as user_segments,
    cast(events.auction_id as string) as auction_id,
    cast({{ lower_code('events.auction_type') }} as string) as auction_type,
    cast({{ lower_code('events.site') }} as string) as site,
    cast(sites.publisher as string) as publisher,
    cast(sites.category as string) as site_category,
    cast(events.targeting as {{ text_list_type() }}) as targeting,
    cast(events.campaign_id as string) as campaign_id,
    cast(events.advertiser_id as string) as advertiser_id,
    cast(events.creative_id as string) as creative_id,
    cast(events.has_bid as boolean) as has_bid,
    cast(coalesce(events.won, false) as boolean) as won,
    cast({{ in_own_currency('events.source_floor_micros') }} as bigint) as floor_micros,
    cast({{ in_own_currency('events.source_bid_micros') }} as bigint) as bid_micros,
    cast({{ in_own_currency('events.source_clearing_micros') }} as bigint) as price_micros,
    cast(events.source_floor_micros as bigint) as source_floor_micros,
    cast(events.source_bid_micros as bigint) as source_bid_micros,
    cast(events.source_clearing_micros as bigint) as source_price_micros,
    {{ event_columns() }}
from events
left join sites
    on {{ lower_code('events.site') }} = sites.site and {{ holds_at('sites', 'events.event_ts') }}
