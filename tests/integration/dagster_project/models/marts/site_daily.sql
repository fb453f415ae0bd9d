with shown as (select * from {{ lake_days(ref('shown'), 1, 1) }})

select
    site,
    cast(count(*) as bigint) as impressions,
    cast(sum(price_micros) as bigint) as price_micros,
    cast(event_ts as date) as report_date
from shown
group by all
