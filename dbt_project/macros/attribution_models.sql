{#
  Attribution models: how much each touch of a path weighs. Belongs here: the weights, as whole numbers, so that sums
  do not depend on the order of rows. Not here: sharing out by them (models/attribution/credits.sql).

  Each macro gives the weight of one touch from the columns position, path_length, last_position (the last click, else
  the last view), touch_ts and conversion_ts. A variable `attribution_models` names those that are built.
#}

{% macro model_weight(model) -%}
    {%- if model == 'last' -%}case when position = last_position then 1 else 0 end
    {%- elif model == 'first' -%}case when position = 1 then 1 else 0 end
    {%- elif model == 'linear' -%}1
    {%- elif model == 'position' -%}{{ position_weight() }}
    {%- elif model == 'decay' -%}{{ decay_weight() }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "attribution_models: " ~ model ~ " is none of last, first, linear, position, decay"
        ) }}
    {%- endif -%}
{%- endmacro %}

{#- 40 % to the first and the last touch, 20 % shared by those between; two touches share equally. -#}
{% macro position_weight() -%}
    case
        when path_length <= 2 then 1
        when position = 1 or position = path_length then 2 * (path_length - 2)
        else 1
    end
{%- endmacro %}

{#- Halves with each half-life that lies between touch and conversion; whole billionths, one at least. -#}
{% macro decay_weight() -%}
    greatest(1, cast(round(1000000000 * pow(
        2.0,
        -cast({{ epoch_us('conversion_ts') }} - {{ epoch_us('touch_ts') }} as double)
        / {{ days_in_us(var('decay_half_life_days')) }}
    )) as bigint))
{%- endmacro %}
