{#
  Attribution windows: how long a touch may earn credit. Belongs here: defaults and limits. Not here: applying them
  (models/attribution/paths.sql).
#}

{#- Days for a touch (click or view) of a campaign that says nothing. -#}
{% macro default_window_days(touch) -%}
    {{- [var('default_' ~ touch ~ '_window_days'), var('max_' ~ touch ~ '_window_days')] | min -}}
{%- endmacro %}

{#- A campaign's window, not longer than the days that a conversion's day reads. -#}
{% macro window_days(touch) -%}
    least(
        greatest(coalesce({{ touch }}_window_days, {{ default_window_days(touch) }}), 0),
        {{ var('max_' ~ touch ~ '_window_days') }}
    )
{%- endmacro %}

{#- A number of days as microseconds. -#}
{% macro days_in_us(days) -%}({{ days }} * 86400000000){%- endmacro %}
