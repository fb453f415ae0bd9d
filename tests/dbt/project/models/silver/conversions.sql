select distinct event_id, event_ts, user_id, revenue_micros, event_date
from {{ lake_days(source('bronze', 'conversions')) }}
