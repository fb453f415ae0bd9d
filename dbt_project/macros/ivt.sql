{#
  Invalid traffic. Belongs here: the rules that flag an event. Flagged events stay; net figures leave them out.
#}

{#-
  CTE `bot_agents`: the user agents of the CTE `staged` that are programs. Each agent is looked at once, since
  they are few beside the events; `seen` keeps Spark from asking before it counts, which took 0.7 ms an event.
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
)
{%- endmacro %}

{#- Why an event is invalid, or null; needs `bot_agents` left joined on the event's user_agent. -#}
{% macro ivt_reason() -%}
    case when bot_agents.user_agent is not null then 'bot_user_agent' end
{%- endmacro %}
