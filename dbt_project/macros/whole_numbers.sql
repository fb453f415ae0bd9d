{#
  Arithmetic of whole numbers: sharing out and rounding, the same on every engine and in every order.
#}

{#- dividend / divisor rounded half away from zero; the divisor is positive. -#}
{% macro rounded_quotient(dividend, divisor) -%}
    case when {{ dividend }} < 0 then -1 else 1 end
    * {{ integer_divide('2 * abs(' ~ dividend ~ ') + (' ~ divisor ~ ')', '2 * (' ~ divisor ~ ')') }}
{%- endmacro %}

{#-
  Sharing out `total` (not negative) by whole `weight`s that add up to `weights`: floor of the exact share. Its product
  stays in a bigint as long as weight * weights does, since total = q * weights + r is shared out in two parts.
-#}
{% macro share_floor(total, weight, weights) -%}
    ({{ integer_divide(total, weights) }} * {{ weight }}
    + {{ integer_divide('(' ~ total ~ ' % ' ~ weights ~ ') * ' ~ weight, weights) }})
{%- endmacro %}

{#- What share_floor cut off, in units of 1 / weights. -#}
{% macro share_remainder(total, weight, weights) -%}
    ((({{ total }} % {{ weights }}) * {{ weight }}) % {{ weights }})
{%- endmacro %}

{#-
  CTEs `<into>_floors` and `<into>`: the rows of `source` with a column `share`. Within each group of `within`, `total`
  is shared out by `weight` (they add up to `weights`); what the floors leave goes, one each, to the rows with
  the largest remainders, ties by the columns `ties`. So the shares always add up to `total` exactly.
-#}
{% macro share_out(source, into, total, weight, weights, share, within, ties) -%}
{{ into }}_floors as (
    select
        *,
        {{ share_floor(total, weight, weights) }} as {{ share }}_floor,
        {{ share_remainder(total, weight, weights) }} as {{ share }}_remainder
    from {{ source }}
),

{{ into }} as (
    select
        *,
        {{ share }}_floor + case
            when row_number() over (partition by {{ within }} order by {{ share }}_remainder desc, {{ ties }})
                <= {{ total }} - sum({{ share }}_floor) over (partition by {{ within }})
                then 1
            else 0
        end as {{ share }}
    from {{ into }}_floors
)
{%- endmacro %}

{#- n / d as a double; null when d is 0 or null. Only for figures at the end, which nothing sums up. -#}
{% macro ratio(n, d) -%}
    cast({{ n }} as double) / nullif(cast({{ d }} as double), 0)
{%- endmacro %}

{#- Money for each of something: n / d rounded to whole micros; null when d is 0 or null. -#}
{% macro micros_per(n, d) -%}
    cast(round({{ ratio(n, d) }}) as bigint)
{%- endmacro %}

{#- Billionths as an exact number with nine decimals. -#}
{% macro billionths_as_decimal(billionths) -%}
    cast(cast({{ billionths }} as decimal(18, 0)) * cast(0.000000001 as decimal(9, 9)) as decimal(18, 9))
{%- endmacro %}

{#- What events cost together whose prices are per thousand, in whole micros; summed first, then divided. -#}
{% macro micros_of_cpm(price) -%}
    {{ rounded_quotient('coalesce(sum(' ~ price ~ '), 0)', '1000') }}
{%- endmacro %}
