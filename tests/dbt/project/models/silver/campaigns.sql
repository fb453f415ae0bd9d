{{ config(partition_by='none') }}
select campaign_id, utc_offset_hours, _offset as landed
from {{ lake_all(source('bronze', 'campaigns')) }}
qualify row_number() over (partition by campaign_id order by _offset desc) = 1
