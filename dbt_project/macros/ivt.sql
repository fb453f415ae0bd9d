{#
  Invalid traffic. Belongs here: the rules that flag an event. Flagged events stay; net figures leave them out.
#}

{#-
  CTE `bot_agents`: the user agents of the CTE `staged` that are programs. Each agent is looked at once, since
  they are few beside the events.
-#}
{% macro judge_user_agents() -%}
user_agents as (
    select distinct user_agent from staged
),

bot_agents as (
    select user_agent
    from user_agents
    where {{ matches('user_agent', bot_user_agents()) }}
)
{%- endmacro %}

{#- Why an event is invalid, or null; needs `bot_agents` left joined on the event's user_agent. -#}
{% macro ivt_reason() -%}
    case when bot_agents.user_agent is not null then 'bot_user_agent' end
{%- endmacro %}
