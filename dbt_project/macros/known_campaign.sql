{#- A campaign id for reports; events whose campaign is not known stand under one name, so that sums stay whole. -#}
{% macro known_campaign(column) -%}
    coalesce({{ column }}, '(none)')
{%- endmacro %}
