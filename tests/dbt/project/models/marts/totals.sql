{{ config(partition_by='none') }}
select campaign_id, cast(sum(impressions) as bigint) as impressions, cast(sum(revenue_micros) as decimal(38, 0)) as revenue_micros
from {{ lake_all(ref('campaign_daily')) }}
group by campaign_id
