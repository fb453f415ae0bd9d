with bid_requests as (
    select * from {{ lake_days(ref('bid_requests'), before=1, after=1) }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

auctions as (
    select
        report_date,
        {{ known_campaign('campaign_id') }} as campaign_id,
        coalesce(site, '(none)') as site,
        max(currency) as currency,
        count(*) as requests,
        {{ count_where('has_bid') }} as bids,
        {{ count_where('won') }} as wins,
        {{ count_where('ivt_reason is not null') }} as ivt_requests,
        sum(bid_micros) as bid_micros,
        count(bid_micros) as priced_bids,
        sum(price_micros) as price_micros,
        count(price_micros) as priced_wins,
        {{ micros_of_cpm('price_micros') }} as spend_micros
    from bid_requests
    group by report_date, {{ known_campaign('campaign_id') }}, coalesce(site, '(none)')
)

select
    cast(auctions.campaign_id as string) as campaign_id,
    cast(campaigns.name as string) as campaign_name,
    cast(auctions.site as string) as site,
    cast(auctions.currency as string) as currency,
    cast(auctions.requests as bigint) as requests,
    cast(auctions.bids as bigint) as bids,
    cast(auctions.wins as bigint) as wins,
    cast(auctions.ivt_requests as bigint) as ivt_requests,
    {{ ratio('auctions.bids', 'auctions.requests') }} as bid_rate,
    {{ ratio('auctions.wins', 'auctions.bids') }} as win_rate,
    {{ micros_per('auctions.bid_micros', 'auctions.priced_bids') }} as average_bid_micros,
    {{ micros_per('auctions.price_micros', 'auctions.priced_wins') }} as average_price_micros,
    cast(auctions.spend_micros as bigint) as spend_micros,
    cast(auctions.report_date as date) as report_date
from auctions
left join campaigns
    on auctions.campaign_id = campaigns.campaign_id and campaigns.is_newest
