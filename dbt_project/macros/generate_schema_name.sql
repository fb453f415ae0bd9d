{#- A model's schema is its layer, in every target; where a target stores it is the plugin's matter. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{- (custom_schema_name or target.schema) | trim -}}
{%- endmacro %}
