{# One spelling for codes that sources spell in many ways. Not here: ids, which are taken as they come. #}

{#- Codes in capitals: currency (ISO 4217), country (ISO 3166-1), so ASCII. Blank is null. -#}
{% macro upper_code(column) -%}
    nullif(translate({{ trimmed(column) }}, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'), '')
{%- endmacro %}

{#- Names in small letters: site (domain), device class, status. Blank is null. -#}
{% macro lower_code(column) -%}nullif({{ small_letters(trimmed(column)) }}, ''){%- endmacro %}
