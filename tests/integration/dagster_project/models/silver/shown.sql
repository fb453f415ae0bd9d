select event_id, event_ts, site, price_micros, event_date
from {{ lake_days(source('bronze', 'impressions')) }}
