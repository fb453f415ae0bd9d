{#
  The columns that all silver event tables share, at the end of their select. Belongs here: what is said of an event
  whatever its kind. Needs rows of the CTE `events` (ivt.sql) under that alias.
#}
{% macro event_columns() -%}
    cast(events.currency as string) as currency,
    cast(events.source_currency as string) as source_currency,
    cast(events.fx_missing as boolean) as fx_missing,
    cast(events.fx_stale as boolean) as fx_stale,
    cast(events.ip as string) as ip,
    cast(events.user_agent as string) as user_agent,
    cast({{ upper_code('events.country') }} as string) as country,
    cast({{ lower_code('events.device') }} as string) as device,
    cast(events.consent as string) as consent,
    cast(events.ivt_reason as string) as ivt_reason,
    cast(events.natural_duplicates as integer) as natural_duplicates,
    cast(events.possible_duplicates as integer) as possible_duplicates,
    cast(events.time_zone as string) as time_zone,
    cast(events.report_date as date) as report_date,
    cast(events.landed_at as {{ timestamp_type() }}) as landed_at,
    cast(events.event_date as date) as event_date
{%- endmacro %}
