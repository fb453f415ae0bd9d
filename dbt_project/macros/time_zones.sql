{# Time zones of reports. #}

{#-
  Whether a text is the name of an IANA time zone. Both engines stop at a name they don't know, so a misspelt zone
  of one advertiser would end every build.
-#}
{% macro is_time_zone(column) -%}
    coalesce({{ column }} in (
        {%- for name in modules.pytz.all_timezones %}'{{ name }}'{{ ', ' if not loop.last }}{% endfor -%}
    ), false)
{%- endmacro %}
