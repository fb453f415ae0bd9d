{{ config(partition_by='none') }}

with landed as (
    select * from {{ ref('stg_creatives') }}
),

{{ resolve_versions('creative_id') }}

select
    cast(creative_id as string) as creative_id,
    cast(campaign_id as string) as campaign_id,
    cast(coalesce(name, creative_id) as string) as name,
    cast({{ lower_code('format') }} as string) as format,
    cast(held_from as {{ timestamp_type() }}) as valid_from,
    cast(held_to as {{ timestamp_type() }}) as valid_to,
    cast(is_newest as boolean) as is_newest,
    cast(first_landed_at as {{ timestamp_type() }}) as landed_at
from resolved
