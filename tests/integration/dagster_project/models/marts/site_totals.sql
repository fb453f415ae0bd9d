{{ config(partition_by='none') }}
select site, cast(sum(impressions) as bigint) as impressions
from {{ lake_all(ref('site_daily')) }}
group by site
