{# Tests of relations that dbt lacks. Not here: rules of one model (its unit tests), whole-lake sums (tests/). #}

{#- No two rows have the same values in `columns`. -#}
{% test unique_together(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as n
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

{#- No number is below zero; null passes. -#}
{% test not_negative(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < 0
{% endtest %}

{#- At any moment at most one version of `key` holds. -#}
{% test one_version_at_a_time(model, key) %}
select *
from (
    select
        {{ key }} as version_key,
        valid_to,
        lead(valid_from) over (partition by {{ key }} order by valid_from) as next_from
    from {{ model }}
) as versions
where valid_to > next_from
{% endtest %}
