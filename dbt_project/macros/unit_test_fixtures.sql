{#
  Column types for the rows of dbt unit tests. dbt takes them from the table that a fixture stands for; an ephemeral
  model has none, nor has a lake that was never built. Run at the start of dbt (on-run-start), this gives each such
  model an empty view, in the memory of this dbt run alone, with the columns and types of its YAML. So unit
  tests need no lake. tests/dbt compares the YAML with what is built.
#}
{% macro fixture_relations() -%}
    {%- if execute and flags.WHICH in ['test', 'build'] -%}
        {%- set ephemeral_only = flags.WHICH == 'build' -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.columns -%}
            {%- set relation = api.Relation.create(schema=node.schema, identifier=node.alias) -%}
            {%- set ephemeral = node.config.materialized == 'ephemeral' -%}
            {%- if ephemeral or (not ephemeral_only and load_relation(relation) is none) -%}
                {%- set typed -%}
                    {%- for column in node.columns.values() -%}
                        cast(null as {{ engine_type(column.data_type) }}) as {{ adapter.quote(column.name) }}{{ ', ' if not loop.last }}
                    {%- endfor -%}
                {%- endset -%}
                {%- do run_query('create schema if not exists ' ~ node.schema) -%}
                {%- do run_query(
                    'create view if not exists ' ~ relation.include(database=false)
                    ~ ' as select * from (select ' ~ typed ~ ') as columns where false'
                ) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- do adapter.commit() -%}
    {%- endif -%}
{%- endmacro %}

{#- dbt-spark puts the text of a list into the SQL as it stands; both engines read a JSON array. -#}
{% macro lakespark__safe_cast(field, type) -%}
    {%- if type.startswith('array') and field is string and field.startswith("'") -%}
        from_json({{ field }}, '{{ type }}')
    {%- else -%}
        cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}
