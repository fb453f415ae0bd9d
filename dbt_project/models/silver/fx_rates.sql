{{ config(partition_by='none') }}

with landed as (
    select * from {{ ref('stg_fx_rates') }}
),

usable as (
    select
        *,
        {{ upper_code('currency') }} as currency_code
    from landed
    where usd_per_unit > 0 and {{ upper_code('currency') }} is not null
),

newest as (
    select
        *,
        min(_landed_at) over (partition by currency_code, rate_date) as first_landed_at
    from usable
    qualify row_number() over (partition by currency_code, rate_date order by {{ newest_landed_first() }}) = 1
)

select
    cast(rate_date as date) as rate_date,
    cast(currency_code as string) as currency,
    cast(usd_per_unit as decimal(18, 9)) as usd_per_unit,
    cast(round(
        cast(usd_per_unit as decimal(27, 9)) * cast(1000000000 as decimal(10, 0))
    ) as bigint) as usd_billionths_per_unit,
    cast(coalesce(
        lead(rate_date) over (partition by currency_code order by rate_date), cast('9999-12-31' as date)
    ) as date) as next_rate_date,
    cast(first_landed_at as {{ timestamp_type() }}) as landed_at
from newest
