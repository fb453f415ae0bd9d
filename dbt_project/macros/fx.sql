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
  CTE `priced`: `in_report` with the billionths of a US dollar that a unit of source_currency (`source_rate`) and of
  currency (`own_rate`) was worth on the event's day, null when not known, and
    fx_missing  money of this event could not be converted, since no rate is known up to its day
    fx_stale    it was converted by the rate of an earlier day
  `has_money`: whether an event has any.
-#}
{% macro price_events(has_money) -%}
priced as (
    select{{ with_small(['source_rates', 'own_rates']) }}
        in_report.*,
        source_rates.usd_billionths_per_unit as source_rate,
        own_rates.usd_billionths_per_unit as own_rate,
        coalesce(
            {{ has_money }} and in_report.source_currency <> in_report.currency
            and (source_rates.currency is null or own_rates.currency is null), false
        ) as fx_missing,
        coalesce(
            {{ has_money }} and in_report.source_currency <> in_report.currency
            and (source_rates.is_stale or own_rates.is_stale), false
        ) as fx_stale
    from in_report
    left join day_rates as source_rates
        on in_report.event_date = source_rates.event_date and in_report.source_currency = source_rates.currency
    left join day_rates as own_rates
        on in_report.event_date = own_rates.event_date and in_report.currency = own_rates.currency
)
{%- endmacro %}

{#-
  `micros` of source_currency as micros of currency, of a row of `priced` that the alias `events` names, rounded half
  away from zero; null when a rate is not known. Whole numbers throughout, so that both engines and any order give
  the same.
-#}
{% macro in_own_currency(micros) -%}
    case
        when {{ micros }} is null or events.source_currency = events.currency then {{ micros }}
        else cast({{ rounded_quotient(wide(micros) ~ ' * events.source_rate', 'events.own_rate') }} as bigint)
    end
{%- endmacro %}
