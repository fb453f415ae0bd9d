with impressions as (
    select * from {{ lake_days(ref('impressions'), before=var('view_days')) }}
),

touches as (
    select
        c.event_id as conversion_id, i.event_id as touch_id, i.campaign_id, c.revenue_micros, c.event_ts, c.event_date,
        row_number() over (
            partition by c.event_date, c.event_id, c.event_ts, c.user_id, c.revenue_micros order by i.event_ts desc, i.event_id, i.event_date
        ) as place
    from {{ lake_days(ref('conversions')) }} as c
    inner join impressions as i
        on i.user_id = c.user_id
        and i.event_ts <= c.event_ts
        and i.event_ts > c.event_ts - interval {{ var('view_days') }} day
)

select conversion_id, touch_id, campaign_id, revenue_micros, event_ts, cast(place as integer) as place, event_date
from touches
