{#
  How a model reads the lake. Each input states which of its days one output day needs; from that the plugin knows
  which output days a change makes stale (see ad_lakehouse/dbt_delta/inputs.py, which reads the names back).
#}

{#- Days [d-before, d+after] of `relation`, for output day d. -#}
{% macro lake_days(relation, before=0, after=0) -%}
  {%- if (before | int) != before or (after | int) != after or before < 0 or after < 0 -%}
    {{ exceptions.raise_compiler_error("lake_days(" ~ relation ~ ", " ~ before ~ ", " ~ after ~ "): both are whole numbers of days, not negative") }}
  {%- endif -%}
  {{- lake_input(relation, (-before) ~ '..' ~ after) -}}
{%- endmacro %}

{#- All of `relation`: any change of it rebuilds the whole model. For dimensions. -#}
{% macro lake_all(relation) -%}
  {{- lake_input(relation, 'all') -}}
{%- endmacro %}

{% macro lake_input(relation, days) -%}
  {%- if relation.is_cte -%}
    {#- in a unit test every input is a fixture -#}
    {%- if execute and model.resource_type != 'unit_test' -%}
      {{ exceptions.raise_compiler_error(relation ~ " is an ephemeral model: read it without lake_days/lake_all, which stand inside it") }}
    {%- endif -%}
    {{- relation -}}
  {%- else -%}
    {%- set name = relation.schema ~ '.' ~ relation.identifier ~ '[' ~ days ~ ']' -%}
    {%- set tested = flags.WHICH == 'build' and model.config.materialized == 'ephemeral' -%}
    {%- if execute and (tested or flags.WHICH not in ['compile', 'run', 'build']) -%}
      {#- whoever runs this SQL outside a build (dbt show, a test of an ephemeral model) finds all days -#}
      {%- do define_lake_input(relation, name, tested or flags.WHICH == 'generate') -%}
    {%- endif -%}
    {{- adapter.quote(name) -}}
  {%- endif -%}
{%- endmacro %}

{#- Makes an input readable under its name, with all its days. -#}
{% macro define_lake_input(relation, name, may_be_missing) -%}
  {{- return(adapter.dispatch('define_lake_input')(relation, name, may_be_missing)) -}}
{%- endmacro %}
{% macro default__define_lake_input(relation, name, may_be_missing) -%}
  {%- do run_query('select 1') -%}{#- the plugin pins the lake when dbt connects -#}
  {%- do adapter.store_relation('lake', relation, [], '', 'input', {'name': name, 'may_be_missing': may_be_missing}) -%}
{%- endmacro %}
{% macro spark__define_lake_input(relation, name, may_be_missing) -%}
  {%- do adapter.define_input(name, may_be_missing) -%}
{%- endmacro %}
