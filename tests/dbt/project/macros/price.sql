{% macro priced(column) %}({{ column }} * {{ var('price') }}){% endmacro %}
