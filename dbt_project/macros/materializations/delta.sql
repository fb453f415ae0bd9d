{#
  A Delta table of the lake, of which each build replaces the days that changed.
  Config: partition_by (the day column, default event_date; 'none' for a table that is one piece),
  sort_by (columns that order the rows inside a day's files).
#}
{% materialization delta, adapter='duckdb' %}
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
  {%- do adapter.store_relation('lake', target_relation, [], '', 'delta', build) -%}
  {{ store_result('main', response=build['response']) }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
