select
    cast(site as string) as site,
    cast(publisher as string) as publisher,
    cast(category as string) as category,
    cast(country as string) as country,
    cast(valid_from as {{ timestamp_type() }}) as valid_from,
    cast(valid_to as {{ timestamp_type() }}) as valid_to,
    cast(_topic as string) as _topic,
    cast(_partition as integer) as _partition,
    cast(_offset as bigint) as _offset,
    cast(_file as string) as _file,
    cast(_row as bigint) as _row,
    cast(_batch as string) as _batch,
    cast(_landed_at as {{ timestamp_type() }}) as _landed_at,
    cast(event_date as date) as event_date
from {{ lake_all(source('bronze', 'sites')) }}
