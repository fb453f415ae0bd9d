select event_id, event_ts, user_id, campaign_id, price_micros, _offset, event_date
from {{ lake_days(source('bronze', 'impressions')) }}
