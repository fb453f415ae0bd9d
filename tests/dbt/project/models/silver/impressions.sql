{{ config(sort_by=['event_ts', 'event_id']) }}
-- earliest of each id wins; ids are unique inside a day
select
    event_id, event_ts, user_id, campaign_id,
    cast({{ priced('price_micros') }} as bigint) as price_micros,
    cast(count(*) over (partition by event_date, event_id) - 1 as integer) as natural_duplicates,
    event_date
from {{ ref('stg_impressions') }}
qualify row_number() over (partition by event_date, event_id order by event_ts, _offset, user_id) = 1
