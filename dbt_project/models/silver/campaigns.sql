{{ config(partition_by='none') }}

with landed as (
    select * from {{ ref('stg_campaigns') }}
),

{{ resolve_versions('campaign_id') }}

select
    cast(campaign_id as string) as campaign_id,
    cast(advertiser_id as string) as advertiser_id,
    cast(coalesce(name, campaign_id) as string) as name,
    cast({{ window_days('click') }} as integer) as click_window_days,
    cast({{ window_days('view') }} as integer) as view_window_days,
    cast(
        coalesce(click_window_days, 0) > {{ var('max_click_window_days') }}
        or coalesce(view_window_days, 0) > {{ var('max_view_window_days') }} as boolean
    ) as window_cut,
    cast(case when {{ lower_code('counting') }} = 'one' then 'one' else 'every' end as string) as counting,
    cast(budget_micros as bigint) as budget_micros,
    cast(flight_start as date) as flight_start,
    cast(flight_end as date) as flight_end,
    cast(held_from as {{ timestamp_type() }}) as valid_from,
    cast(held_to as {{ timestamp_type() }}) as valid_to,
    cast(is_newest as boolean) as is_newest,
    cast(first_landed_at as {{ timestamp_type() }}) as landed_at
from resolved
