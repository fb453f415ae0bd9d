select
    cast(rate_date as date) as rate_date,
    cast(currency as string) as currency,
    cast(usd_per_unit as decimal(18, 9)) as usd_per_unit,
    cast(_topic as string) as _topic,
    cast(_partition as integer) as _partition,
    cast(_offset as bigint) as _offset,
    cast(_file as string) as _file,
    cast(_row as bigint) as _row,
    cast(_batch as string) as _batch,
    cast(_landed_at as {{ timestamp_type() }}) as _landed_at,
    cast(event_date as date) as event_date
from {{ lake_all(source('bronze', 'fx_rates')) }}
