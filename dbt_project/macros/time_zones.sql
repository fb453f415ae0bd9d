{# Time zones of reports. #}

{#-
  Whether a text is the name of an IANA time zone. Both engines stop at a name they don't know, so a misspelt zone
  of one advertiser would end every build. Two names are left out that a Java 17 of Spark's does not know.
-#}
{% macro is_time_zone(column) -%}
    coalesce({{ column }} in (
        {%- for name in modules.pytz.all_timezones if name not in ['ROC', 'America/Coyhaique'] %}'{{ name }}'{{ ', ' if not loop.last }}{% endfor -%}
    ), false)
{%- endmacro %}
