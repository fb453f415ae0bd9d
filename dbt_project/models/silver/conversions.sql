{#-
  Reads other days too, since records of one order, and one user's conversions that count once, lie days apart. Each
  comparison states its reach in days, within what the inputs declare; what a wider read shows does not matter.
-#}
{%- set payload = {
    'event_ts': 'timestamp', 'user_id': 'text', 'campaign_id': 'text', 'conversion_type': 'text',
    'order_id': 'text', 'status': 'text', 'source_revenue_micros': 'text', 'currency_code': 'text', 'ip': 'text',
    'user_agent': 'text', 'country': 'text', 'device': 'text', 'consent': 'text',
} -%}
{%- set horizon = var('order_horizon_days') -%}

with staged as (
    select * from {{ ref('stg_conversions') }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

advertisers as (
    select * from {{ lake_all(ref('advertisers')) }}
),

fx_rates as (
    select * from {{ lake_all(ref('fx_rates')) }}
),

{{ deduplicate(payload) }},

in_campaign as (
    select * from deduplicated
),

{{ campaign_context() }},

{{ rates_of_days() }},

{{ judge_user_agents() }},

priced as (
    select
        events.*,
        {{ credit_owner('events.advertiser_id', 'events.campaign_id') }} as owner,
        nullif({{ trimmed('events.order_id') }}, '') as order_key,
        {{ lower_code('events.conversion_type') }} as action,
        coalesce({{ lower_code('events.status') }}, 'completed') as state,
        coalesce({{ lower_code('events.status') }}, 'completed') in ('cancelled', 'canceled', 'refunded')
        or coalesce(events.source_revenue_micros, 0) < 0 as is_adjustment,
        {{ in_own_currency('events', 'events.source_revenue_micros') }} as revenue_micros
    from in_report as events
    {{ join_rates('events') }}
),

placed as (
    select
        *,
        lag(event_date) over (
            partition by owner, order_key, is_adjustment order by event_ts, event_id
        ) as day_before_in_order,
        lag(event_ts) over (
            partition by user_id, campaign_id, action, is_adjustment order by event_ts, event_id
        ) as same_action_before
    from priced
),

judged as (
    select
        *,
        case
            when is_adjustment then 'adjustment'
            when
                order_key is not null
                and day_before_in_order >= {{ days_after('event_date', -horizon) }} then 'same_order'
            when
                counting = 'one'
                and {{ epoch_us('event_ts') }} - {{ epoch_us('same_action_before') }}
                <= {{ days_in_us('click_window_days') }} then 'counted_once'
        end as uncounted_reason
    from placed
),

adjusted as (
    select
        orders.event_date,
        orders.event_id,
        {{ count_where(
            "adjustments.state in ('cancelled', 'canceled') or coalesce(adjustments.source_revenue_micros, 0) = 0"
        ) }} > 0 as is_void,
        sum(abs(coalesce(adjustments.revenue_micros, 0))) as taken_back_micros
    from judged as orders
    inner join judged as adjustments
        on
            orders.owner = adjustments.owner
            and orders.order_key = adjustments.order_key
            and orders.event_date <= adjustments.event_date
            and {{ days_after('orders.event_date', horizon) }} >= adjustments.event_date
    where orders.uncounted_reason is null and adjustments.is_adjustment
    group by orders.event_date, orders.event_id
)

select
    cast(events.event_id as string) as event_id,
    cast(events.parent_event_id as string) as parent_event_id,
    cast(events.event_ts as {{ timestamp_type() }}) as event_ts,
    cast(events.user_id as string) as user_id,
    cast(events.campaign_id as string) as campaign_id,
    cast(events.advertiser_id as string) as advertiser_id,
    cast(events.action as string) as conversion_type,
    cast(events.order_key as string) as order_id,
    cast(events.state as string) as status,
    cast(events.uncounted_reason is null as boolean) as counted,
    cast(events.uncounted_reason as string) as uncounted_reason,
    cast(adjusted.event_id is not null as boolean) as refunded,
    cast(events.revenue_micros as bigint) as revenue_micros,
    cast(case
        when events.uncounted_reason is not null or adjusted.is_void then 0
        else
            coalesce(events.revenue_micros, 0)
            - least(coalesce(events.revenue_micros, 0), coalesce(adjusted.taken_back_micros, 0))
    end as bigint) as order_revenue_micros,
    cast(events.source_revenue_micros as bigint) as source_revenue_micros,
    {{ event_columns('events.source_revenue_micros is not null') }}
from judged as events
left join adjusted
    on events.event_date = adjusted.event_date and events.event_id = adjusted.event_id
{{ join_rates('events') }}
left join bot_agents
    on events.user_agent = bot_agents.user_agent
