{#
  Where DuckDB and Spark say the same thing differently. Belongs here: one macro for each such difference.
  Not here: rules of the business, which are written once for both engines in the other files.
#}

{#- Microseconds since 1970-01-01 UTC of a timestamp, bigint. -#}
{% macro epoch_us(ts) -%}{{ return(adapter.dispatch('epoch_us')(ts)) }}{%- endmacro %}
{% macro default__epoch_us(ts) -%}epoch_us({{ ts }}){%- endmacro %}
{% macro spark__epoch_us(ts) -%}unix_micros({{ ts }}){%- endmacro %}

{#- The type of a moment in UTC with microseconds. -#}
{% macro timestamp_type() -%}{{ return(adapter.dispatch('timestamp_type')()) }}{%- endmacro %}
{% macro default__timestamp_type() -%}timestamptz{%- endmacro %}
{% macro spark__timestamp_type() -%}timestamp{%- endmacro %}

{#- The type of a list of texts. -#}
{% macro text_list_type() -%}{{ return(adapter.dispatch('text_list_type')()) }}{%- endmacro %}
{% macro default__text_list_type() -%}varchar[]{%- endmacro %}
{% macro spark__text_list_type() -%}array<string>{%- endmacro %}

{#- The calendar day of a moment in an IANA time zone, date. -#}
{% macro local_day(ts, time_zone) -%}{{ return(adapter.dispatch('local_day')(ts, time_zone)) }}{%- endmacro %}
{% macro default__local_day(ts, time_zone) -%}cast(timezone({{ time_zone }}, {{ ts }}) as date){%- endmacro %}
{% macro spark__local_day(ts, time_zone) -%}cast(from_utc_timestamp({{ ts }}, {{ time_zone }}) as date){%- endmacro %}

{#- `days` (may be negative, a column or a number) after a date, date. -#}
{% macro days_after(day, days) -%}{{ return(adapter.dispatch('days_after')(day, days)) }}{%- endmacro %}
{% macro default__days_after(day, days) -%}({{ day }} + {{ days }}){%- endmacro %}
{% macro spark__days_after(day, days) -%}date_add({{ day }}, {{ days }}){%- endmacro %}

{#-
  Quotient of two whole numbers, cut towards zero. Cast to a bigint, one that exceeds it is an error on both engines:
  of wide numbers Spark's div gives the lowest 64 bits in silence, which is 2^64 or more beside the quotient.
-#}
{% macro integer_divide(dividend, divisor) -%}
    {{ return(adapter.dispatch('integer_divide')(dividend, divisor)) }}
{%- endmacro %}
{% macro default__integer_divide(dividend, divisor) -%}(({{ dividend }}) // ({{ divisor }})){%- endmacro %}
{% macro spark__integer_divide(dividend, divisor) -%}
    {%- set quotient = '((' ~ dividend ~ ') div (' ~ divisor ~ '))' -%}
    case
        when abs(cast({{ quotient }} as double) * ({{ divisor }}) - ({{ dividend }})) > 1e18 * abs({{ divisor }})
            then raise_error('a quotient exceeds 64 bits')
        else {{ quotient }}
    end
{%- endmacro %}

{#- A whole number of up to 38 digits, for products that exceed a bigint. -#}
{% macro wide(number) -%}{{ return(adapter.dispatch('wide')(number)) }}{%- endmacro %}
{% macro default__wide(number) -%}cast({{ number }} as hugeint){%- endmacro %}
{% macro spark__wide(number) -%}cast({{ number }} as decimal(38, 0)){%- endmacro %}

{#- SHA-256 of a text as lower-case hexadecimal digits. -#}
{% macro sha256_hex(text) -%}{{ return(adapter.dispatch('sha256_hex')(text)) }}{%- endmacro %}
{% macro default__sha256_hex(text) -%}sha256({{ text }}){%- endmacro %}
{% macro spark__sha256_hex(text) -%}sha2({{ text }}, 256){%- endmacro %}

{#-
  Whether a text contains a match of a regular expression: the common part of RE2 and Java, no backslashes, $ last in a
  class, (?i:…) around nothing but ASCII. To Java . is no line break and $ may stand before one, to RE2 neither; (?d)
  leaves Java the line feed alone.
-#}
{% macro matches(text, pattern) -%}{{ return(adapter.dispatch('matches')(text, pattern)) }}{%- endmacro %}
{% macro default__matches(text, pattern) -%}regexp_matches({{ text }}, '{{ pattern }}'){%- endmacro %}
{% macro spark__matches(text, pattern) -%}
    regexp_like({{ text }}, '(?d){{ modules.re.sub("[$](?!])", "$(?!\n)", pattern) }}')
{%- endmacro %}

{#- A list of texts as one text, different for different lists. -#}
{% macro list_as_text(list) -%}{{ return(adapter.dispatch('list_as_text')(list)) }}{%- endmacro %}
{% macro default__list_as_text(list) -%}
    array_to_string(list_transform({{ list }}, lambda x: coalesce(length(x) || ':' || x, '-')), ',')
{%- endmacro %}
{% macro spark__list_as_text(list) -%}
    array_join(transform({{ list }}, x -> coalesce(length(x) || ':' || x, '-')), ',')
{%- endmacro %}

{#- A text without the spaces at its ends, whichever of Unicode's they are. -#}
{% macro trimmed(text) -%}{{ return(adapter.dispatch('trimmed')(text)) }}{%- endmacro %}
{% macro default__trimmed(text) -%}trim({{ text }}){%- endmacro %}
{% macro spark__trimmed(text) -%}
    trim(both '
    {{- " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000" -}}
    ' from {{ text }})
{%- endmacro %}

{#- A text in small letters, letter by letter: Spark's lower makes two of a capital I with a dot, and ς of a last Σ. -#}
{% macro small_letters(text) -%}{{ return(adapter.dispatch('small_letters')(text)) }}{%- endmacro %}
{% macro default__small_letters(text) -%}lower({{ text }}){%- endmacro %}
{% macro spark__small_letters(text) -%}lower(translate({{ text }}, 'İΣ', 'iσ')){%- endmacro %}

{#- The name of a column type, which the models' YAML has as DuckDB writes it. -#}
{% macro engine_type(name) -%}{{ return(adapter.dispatch('engine_type')(name)) }}{%- endmacro %}
{% macro default__engine_type(name) -%}{{ name }}{%- endmacro %}
{% macro spark__engine_type(name) -%}
    {{- {'varchar': 'string', 'timestamptz': 'timestamp', 'varchar[]': 'array<string>'}.get(name, name) -}}
{%- endmacro %}

{#-
  After `select`: these tables of its joins stay small however many events there are. Spark guesses their size from what
  they are counted from, and would move and sort all events by their key.
-#}
{% macro with_small(names) -%}{{ return(adapter.dispatch('with_small')(names)) }}{%- endmacro %}
{% macro default__with_small(names) -%}{%- endmacro %}
{% macro spark__with_small(names) %} /*+ broadcast({{ names | join(', ') }}) */{%- endmacro %}
