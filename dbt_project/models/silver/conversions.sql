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

{{ price_events('in_report.source_revenue_micros is not null') }},

{{ judge_user_agents() }},

valued as (
    select
        events.*,
        {{ credit_owner('events.advertiser_id', 'events.campaign_id') }} as owner,
        nullif({{ trimmed('events.order_id') }}, '') as order_key,
        {{ lower_code('events.conversion_type') }} as action,
        coalesce({{ lower_code('events.status') }}, 'completed') as state,
        {{ in_own_currency('events.source_revenue_micros') }} as revenue_micros
    from events
),

placed as (
    select
        *,
        state in ('cancelled', 'canceled', 'refunded') or coalesce(source_revenue_micros, 0) < 0 as is_adjustment,
        state in ('cancelled', 'canceled') or coalesce(source_revenue_micros, 0) = 0 as takes_back_all,
        {#- Records without an order are orders of their own, else one window would hold all of them. #}
        case when owner is null or order_key is null then event_id end as no_order
    from valued
),

compared_in_time as (
    select
        *,
        lag(event_date) over (
            partition by owner, order_key, is_adjustment order by event_ts, event_id
        ) as day_before_in_order,
        lag(event_ts) over (
            partition by user_id, campaign_id, action, is_adjustment order by event_ts, event_id
        ) as same_action_before,
        {{ count_where('is_adjustment and no_order is null') }} over within_horizon as adjustments,
        {{ count_where('is_adjustment and no_order is null and takes_back_all') }} over within_horizon as voids,
        sum(case when is_adjustment and no_order is null then abs(revenue_micros) end) over within_horizon
            as taken_back_micros
    from placed
    window
        within_horizon as (
            partition by owner, order_key, no_order order by event_date
            range between current row and interval '{{ horizon }}' day following
        )
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
    from compared_in_time
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
    cast(events.uncounted_reason is null and events.adjustments > 0 as boolean) as refunded,
    cast(events.revenue_micros as bigint) as revenue_micros,
    cast(case
        when events.uncounted_reason is not null or events.voids > 0 then 0
        else
            coalesce(events.revenue_micros, 0)
            - least(coalesce(events.revenue_micros, 0), coalesce(events.taken_back_micros, 0))
    end as bigint) as order_revenue_micros,
    cast(events.source_revenue_micros as bigint) as source_revenue_micros,
    {{ event_columns() }}
from judged as events
