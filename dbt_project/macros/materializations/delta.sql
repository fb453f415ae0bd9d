{#
  A Delta table of the lake, of which each build replaces the days that changed.
  Config: partition_by (the day column, default event_date; 'none' for a table that is one piece),
  sort_by (columns that order the rows inside a day's files).
#}
{% materialization delta, default %}
  {%- set target_relation = this.incorporate(type='view') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {%- set contract = config.get('contract') -%}
  {%- set columns = {} -%}
  {%- if contract and contract.enforced -%}
    {{ get_assert_columns_equivalent(compiled_code) }}
    {%- for column in model.columns.values() -%}{%- do columns.update({column.name: column.data_type}) -%}{%- endfor -%}
  {%- endif -%}
  {%- set build = {
    'sql': compiled_code,
    'config': {'partition_by': model.config.get('partition_by', 'event_date'), 'sort_by': model.config.get('sort_by')},
    'columns': columns,
    'description': model.description,
    'full_refresh': should_full_refresh()
  } -%}
  {{ write(compiled_code) }}
  {{ store_result('main', response=build_table(target_relation, build)) }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- Hands the model over to the engine's side of ad_lakehouse; returns dbt's response. -#}
{% macro build_table(relation, build) -%}{{ return(adapter.dispatch('build_table')(relation, build)) }}{%- endmacro %}
{% macro default__build_table(relation, build) -%}
  {%- do adapter.store_relation('lake', relation, [], '', 'delta', build) -%}
  {{ return(build['response']) }}
{%- endmacro %}
{% macro spark__build_table(relation, build) -%}{{ return(adapter.build_delta(relation, build)) }}{%- endmacro %}
