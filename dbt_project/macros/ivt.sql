{#
  Invalid traffic. Belongs here: the rules that flag an event. Flagged events stay; net figures leave them out.
#}

{#-
  CTEs that lead from `priced` to `events`, which adds `ivt_reason`: why an event is invalid, or null. Each agent of
  `staged` is looked at once, since they are few beside the events; `seen` keeps Spark from asking before it counts,
  which took 0.7 ms an event.
-#}
{% macro judge_user_agents() -%}
user_agents as (
    select
        user_agent,
        count(*) as seen
    from staged
    group by user_agent
),

bot_agents as (
    select user_agent
    from user_agents
    where case when seen > 0 then {{ matches('user_agent', bot_user_agents()) }} else false end
),

events as (
    select{{ with_small(['bot_agents']) }}
        priced.*,
        case when bot_agents.user_agent is not null then 'bot_user_agent' end as ivt_reason
    from priced
    left join bot_agents
        on priced.user_agent = bot_agents.user_agent
)
{%- endmacro %}
