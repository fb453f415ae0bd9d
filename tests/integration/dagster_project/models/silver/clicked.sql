select event_id, event_ts, user_id, event_date
from {{ lake_days(source('bronze', 'clicks')) }}
