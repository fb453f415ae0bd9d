{# One spelling for codes that sources spell in many ways. Not here: ids, which are taken as they come. #}

{#- Codes in capitals: currency (ISO 4217), country (ISO 3166-1). Blank is null. -#}
{% macro upper_code(column) -%}nullif(upper(trim({{ column }})), ''){%- endmacro %}

{#- Names in small letters: site (domain), device class, status. Blank is null. -#}
{% macro lower_code(column) -%}nullif(lower(trim({{ column }})), ''){%- endmacro %}
