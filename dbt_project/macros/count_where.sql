{#- Rows for which `condition` holds; 0 when it is null in all of them, where DuckDB's count_if gives null, Spark's 0. -#}
{% macro count_where(condition) -%}
    count(case when {{ condition }} then 1 end)
{%- endmacro %}
