with campaigns as (select * from {{ lake_all(ref('campaigns')) }}),

shown as (
    select
        i.campaign_id,
        cast(i.event_ts + coalesce(d.utc_offset_hours, 0) * interval 1 hour as date) as report_date,
        count(*) as impressions,
        sum(i.price_micros) as spend
    from {{ lake_days(ref('impressions'), 1, 1) }} as i
    left join campaigns as d on d.campaign_id = i.campaign_id
    group by all
),

won as (
    select
        c.campaign_id,
        cast(c.event_ts + coalesce(d.utc_offset_hours, 0) * interval 1 hour as date) as report_date,
        sum(c.revenue_micros) as revenue
    from {{ lake_days(ref('credits'), 1, 1) }} as c
    left join campaigns as d on d.campaign_id = c.campaign_id
    where c.place = 1
    group by all
)

select
    campaign_id,
    cast(coalesce(shown.impressions, 0) as bigint) as impressions,
    cast(coalesce(shown.spend, 0) as bigint) as spend_micros,
    cast(coalesce(won.revenue, 0) as bigint) as revenue_micros,
    report_date
from shown
full join won using (campaign_id, report_date)
