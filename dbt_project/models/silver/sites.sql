{{ config(partition_by='none') }}

with landed as (
    select * from {{ ref('stg_sites') }}
),

{{ resolve_versions(lower_code('site')) }}

select
    cast({{ lower_code('site') }} as string) as site,
    cast(publisher as string) as publisher,
    cast(category as string) as category,
    cast({{ upper_code('country') }} as string) as country,
    cast(held_from as {{ timestamp_type() }}) as valid_from,
    cast(held_to as {{ timestamp_type() }}) as valid_to,
    cast(is_newest as boolean) as is_newest,
    cast(first_landed_at as {{ timestamp_type() }}) as landed_at
from resolved
where {{ lower_code('site') }} is not null
