{#
  Duplicates of events. Belongs here: which landed rows are one event. Not here: several events that are one
  conversion (models/silver/conversions.sql).
#}

{#- Total order over topics and files; `direction` asc or desc. Rows of one batch that equal in it do not exist. -#}
{% macro origin(direction='asc') -%}
    coalesce(_topic, _file, '') {{ direction }},
    coalesce(_partition, 0) {{ direction }},
    coalesce(_offset, _row, 0) {{ direction }},
    coalesce(_batch, '') {{ direction }}
{%- endmacro %}

{#-
  The typed business columns of a row as one text, equal if and only if the rows are: each value with its length
  before it, '-' for null. `columns` maps each column to its kind: text, timestamp or list.
-#}
{% macro payload_text(columns) -%}
    {%- for name, kind in columns.items() -%}
        {%- if kind == 'timestamp' -%}{%- set text = 'cast(' ~ epoch_us(name) ~ ' as string)' -%}
        {%- elif kind == 'list' -%}{%- set text = list_as_text(name) -%}
        {%- else -%}{%- set text = 'cast(' ~ name ~ ' as string)' -%}{%- endif -%}
        coalesce(length({{ text }}) || ':' || {{ text }}, '-')
        {%- if not loop.last %} ||
        {% endif -%}
    {%- endfor -%}
{%- endmacro %}

{#-
  CTEs that lead from `staged` (accepted bronze rows) to `deduplicated` (one row an event), by day and id:
  * rows with the same payload are one event: `natural_duplicates` counts the others, of which `possible_duplicates`
    had no id of their own, so that they might have been events that only look alike;
  * of different payloads under one id the earliest (by event_ts, then origin) keeps the id; each other is an event
    of its own, whose id is a hash of day, id and payload, with the id it came with in `parent_event_id`.
  So sum(1 + natural_duplicates) = accepted bronze rows, day by day.
  `columns`: the business columns without event_id, see payload_text. Ids that are there once, nearly all of
  them, take the short way: nothing is hashed or sorted for them.
-#}
{% macro deduplicate(columns) -%}
repeated_ids as (
    select
        event_date,
        event_id
    from staged
    group by event_date, event_id
    having count(*) > 1
),

payloads as (
    select
        staged.*,
        {{ payload_text(columns) }} as payload
    from staged
    where exists (
        select 1 from repeated_ids
        where staged.event_date = repeated_ids.event_date and staged.event_id = repeated_ids.event_id
    )
),

compared as (
    select
        *,
        row_number() over (partition by event_date, event_id, payload order by {{ origin() }}) as copy,
        count(*) over (partition by event_date, event_id, payload) as copies,
        {{ count_where('_synthetic_id') }} over (partition by event_date, event_id, payload) as synthetic_copies,
        min(_landed_at) over (partition by event_date, event_id, payload) as first_landed_at,
        first_value(payload) over (
            partition by event_date, event_id order by event_ts, {{ origin() }}
            rows between unbounded preceding and unbounded following
        ) as first_payload
    from payloads
),

deduplicated as (
    select
        staged.event_date,
        staged.event_id,
        cast(null as string) as parent_event_id,
        {%- for name in columns %}
        staged.{{ name }},
        {%- endfor %}
        0 as natural_duplicates,
        0 as possible_duplicates,
        staged._landed_at as landed_at
    from staged
    where not exists (
        select 1 from repeated_ids
        where staged.event_date = repeated_ids.event_date and staged.event_id = repeated_ids.event_id
    )
    union all
    select
        event_date,
        case
            when payload = first_payload then event_id
            else {{ sha256_hex("cast(event_date as string) || '|' || event_id || '|' || payload") }}
        end as event_id,
        case when payload <> first_payload then event_id end as parent_event_id,
        {%- for name in columns %}
        {{ name }},
        {%- endfor %}
        copies - 1 as natural_duplicates,
        case when synthetic_copies > 0 then copies - 1 else 0 end as possible_duplicates,
        first_landed_at as landed_at
    from compared
    where copy = 1
)
{%- endmacro %}
