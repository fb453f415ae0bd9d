{#
  Money in the advertiser's currency. Belongs here: finding the rate of a day, converting. Not here: the rates
  themselves (models/silver/fx_rates.sql).
#}

{#-
  CTE `day_rates`: for each day of the CTE `staged` and each currency the rate of that day, else the last one known
  before it (then `is_stale`). US dollars, which all rates are in, are always 1.
  Needs the CTEs `staged` and `fx_rates`.
-#}
{% macro rates_of_days() -%}
days as (
    select distinct event_date from staged
),

day_rates as (
    select
        days.event_date,
        fx_rates.currency,
        fx_rates.usd_billionths_per_unit,
        fx_rates.rate_date < days.event_date as is_stale
    from days
    inner join fx_rates
        on days.event_date >= fx_rates.rate_date and days.event_date < fx_rates.next_rate_date
    where fx_rates.currency <> 'USD'
    union all
    select
        event_date,
        'USD' as currency,
        1000000000 as usd_billionths_per_unit,
        false as is_stale
    from days
)
{%- endmacro %}

{#-
  Joins of the rates that lead from `events`.source_currency to `events`.currency, as `source_rate` and `own_rate`.
-#}
{% macro join_rates(events) -%}
left join day_rates as source_rate
    on {{ events }}.event_date = source_rate.event_date and {{ events }}.source_currency = source_rate.currency
left join day_rates as own_rate
    on {{ events }}.event_date = own_rate.event_date and {{ events }}.currency = own_rate.currency
{%- endmacro %}

{#-
  `micros` of `events`.source_currency as micros of `events`.currency, rounded half away from zero; null when a rate
  is not known. Whole numbers throughout, so that both engines and any order give the same.
-#}
{% macro in_own_currency(events, micros) -%}
    case
        when {{ micros }} is null or {{ events }}.source_currency = {{ events }}.currency then {{ micros }}
        else cast({{ rounded_quotient(
            wide(micros) ~ ' * source_rate.usd_billionths_per_unit', 'own_rate.usd_billionths_per_unit'
        ) }} as bigint)
    end
{%- endmacro %}

{#- Whether money of this event could not be converted, since no rate is known up to its day. -#}
{% macro fx_missing(events, has_money) -%}
    coalesce(
        {{ has_money }} and {{ events }}.source_currency <> {{ events }}.currency
        and (source_rate.currency is null or own_rate.currency is null), false
    )
{%- endmacro %}

{#- Whether money of this event was converted by the rate of an earlier day. -#}
{% macro fx_stale(events, has_money) -%}
    coalesce(
        {{ has_money }} and {{ events }}.source_currency <> {{ events }}.currency
        and (source_rate.is_stale or own_rate.is_stale), false
    )
{%- endmacro %}
