{{ config(partition_by='none') }}

with landed as (
    select * from {{ ref('stg_advertisers') }}
),

{{ resolve_versions('advertiser_id') }}

select
    cast(advertiser_id as string) as advertiser_id,
    cast(coalesce(name, advertiser_id) as string) as name,
    cast(case when {{ is_time_zone('time_zone') }} then time_zone else 'UTC' end as string) as time_zone,
    cast(time_zone is not null and not {{ is_time_zone('time_zone') }} as boolean) as time_zone_unknown,
    cast(coalesce({{ upper_code('currency') }}, 'USD') as string) as currency,
    cast(held_from as {{ timestamp_type() }}) as valid_from,
    cast(held_to as {{ timestamp_type() }}) as valid_to,
    cast(is_newest as boolean) as is_newest,
    cast(first_landed_at as {{ timestamp_type() }}) as landed_at
from resolved
