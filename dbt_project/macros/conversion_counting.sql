{#
  Which records of conversions count. Belongs here: look-backs that the rules need. Not here: the rules
  (models/silver/conversions.sql).
#}

{#- Days before a conversion's day in which an earlier record can keep it from counting. -#}
{% macro conversion_days_before() -%}
    {{ return([var('order_horizon_days'), var('max_click_window_days')] | max) }}
{%- endmacro %}
