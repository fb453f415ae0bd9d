"""Constructs that are not portable: for each why, what to write instead, and how to find it.

Belongs here: the list, and what finds a construct by its words. Not here: what finds it by its meaning (meanings.py),
functions that are portable (reviewed.py).

What is said of DuckDB and Spark was seen on DuckDB 2.0.0 and Spark 4.2.1 with our settings (agreement.py).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ad_lakehouse.dbt_spark.portability import meanings
from ad_lakehouse.dbt_spark.portability.kinds import Values
from ad_lakehouse.dbt_spark.portability.texts import Pair

Finder = Callable[[Pair, Values], Iterator[str]]


@dataclass(frozen=True)
class Ban:
    """`find` yields each place as a person may recognise it in the SQL."""

    name: str
    why: str
    instead: str
    find: Finder


def words(pattern: str) -> Finder:
    """Words (see `Text.plain`) that stand in both texts; what is in one alone, a macro wrote for that engine."""
    sought = re.compile(pattern)

    def find(pair: Pair, _: Values) -> Iterator[str]:
        found = [[_in_context(text.plain, each) for each in sought.finditer(text.plain)] for text in pair.texts]
        return iter(found[0] if len(found[0]) < len(found[1]) else found[1])

    return find


def calls(pattern: str) -> Finder:
    """A function that both texts call."""
    sought = re.compile(pattern)

    def find(pair: Pair, _: Values) -> Iterator[str]:
        shared = set(pair.duckdb.calls) & set(pair.spark.calls)
        return (f"{name}(…)" for name in sorted(shared) if sought.fullmatch(name))

    return find


def _in_context(plain: str, found: re.Match[str]) -> str:
    before, after = plain[: found.start()].split()[-1:], plain[found.end() :].split()[:1]
    return " ".join((*before, found[0].strip(), *after))


BY_WORDS = (
    Ban("cast by colons", "of -2.5::integer DuckDB casts 2.5, Spark -2.5", "cast(… as …)", words(r"::")),
    Ban("integer division", "Spark has no //", "the macro integer_divide", words(r"/ ?/")),
    Ban("div", "DuckDB has no div", "the macro integer_divide", words(r"\bdiv\b")),
    Ban("power", "^ is a power on DuckDB, exclusive or on Spark; Spark has no **", "pow(…) inside round(…)",
        words(r"\^|\* ?\*")),
    Ban("square bracket", "Spark has no list literals, and counts from 0 where DuckDB counts from 1",
        "a macro for lists in macros/engine.sql", words(r"\[")),
    Ban("curly bracket", "Spark has no struct literals", "a macro in macros/engine.sql", words(r"\{")),
    Ban("colon", "structs, slices and names before columns are of DuckDB alone",
        "x as name, or a macro in macros/engine.sql", words(r"(?<= ):(?= )")),
    Ban("arrow", "a lambda on Spark, JSON on DuckDB", "a macro for lists in macros/engine.sql", words("->")),
    Ban("lambda", "Spark writes x -> …", "a macro for lists in macros/engine.sql", words(r"\blambda \w+ :")),
    Ban("function after a dot", "Spark takes it for a function of a schema", "f(x) in place of x.f()",
        words(r"\. \w+ (?=\()")),
    Ban("matching operator", "Spark has no ~ and no such patterns", "the macro matches, or like",
        words(r"~|\bsimilar to\b|\bglob\b")),
    Ban("null-safe equals", "DuckDB has no <=>", "is not distinct from", words("<=>")),
    Ban("at time zone", "Spark does not know it", "the macro local_day", words(r"\bat time zone\b")),
    Ban("trailing comma", "Spark stops at it", "no comma after the last one",
        words(r", (?=\)|(from|where|group|order|having|qualify|limit|union)\b)|,$")),
    Ban("by name", "Spark has no UNION BY NAME", "both branches with their columns in one order",
        words(r"\b(union|all|distinct|intersect|except) by name\b")),
    Ban("star with changes", "Spark has neither EXCLUDE nor REPLACE nor COLUMNS(…)", "the columns one by one",
        words(r"(select|distinct|,|\.) \* (exclude|replace|rename)\b|\bcolumns \(")),
    Ban("distinct on", "Spark takes ON for a function",
        "qualify row_number() over (partition by … order by …) = 1", words(r"\bdistinct on\b")),
    Ban("asof join", "Spark has none", "a join on a range, or a window that ends each row (macro resolve_versions)",
        words(r"\basof\b")),
    Ban("pivot", "its columns get other names on each engine", "one case when a column, from a loop in Jinja",
        words(r"\b(un)?pivot\b")),
    Ban("ignore nulls", "inside the brackets on DuckDB, behind them on Spark", "a macro in macros/engine.sql",
        words(r"\bignore nulls\b")),
    Ban("sample", "drawn anew by each build, and written differently", "a rule that chooses rows",
        words(r"\b(tablesample|using sample)\b")),
)  # fmt: skip

BY_FUNCTION = (
    Ban("hash", "a different hash on each engine", "the macro sha256_hex", calls("hash|xxhash64|murmur_hash3_32")),
    Ban("sha256", "sha256 on DuckDB is sha2 on Spark", "the macro sha256_hex", calls("sha256|sha2")),
    Ban("log", "to the base 10 on DuckDB, e on Spark", "a macro with round(…) around it",
        calls("log")),
    Ban("last digit", "the last digit may differ", "a macro with round(…) around it",
        calls("exp|ln|log2|log10")),
    Ban("concat", "leaves out nulls on DuckDB, is null on Spark", "||", calls("concat")),
    Ban("count_if", "of no rows null on DuckDB, 0 on Spark", "the macro count_where", calls("count_?if")),
    Ban("difference of times", "DuckDB takes the unit in quotes, Spark without", "a difference of the macro epoch_us,"
        " or a comparison with the macro days_after", calls("date_?diff|date_?sub|timestampdiff|age")),
    Ban("text of a time", "DuckDB writes %Y-%m-%d, Spark yyyy-MM-dd", "cast(… as string) of a date, else a macro in"
        " macros/engine.sql", calls("(try_)?str[fp]time|date_format|to_char|(try_)?to_date")),
    Ban("epoch", "named and rounded differently on each engine", "the macro epoch_us",
        calls("epoch(_.*)?|unix_.*|(to_|make_|try_to_)?timestamp(_.*)?|from_unixtime")),
    Ban("part of a date", "days of the week begin at 0 on DuckDB, at 1 on Spark; isodow is of DuckDB alone",
        "a macro in macros/engine.sql", calls("extract|date_?part|iso.*|day(of|name).*|weekday|dow")),
    Ban("time zone", "timezone(zone, …) on DuckDB is from_utc_timestamp(…, zone) on Spark", "the macro local_day",
        calls("timezone|(from|to)_utc_timestamp")),
    Ban("list", "named differently on each engine; array_agg keeps nulls on DuckDB alone",
        "the macro list_as_text, or a new one in macros/engine.sql",
        calls("list|(list|array)_.*|collect_.*|element_at|transform")),
    Ban("joined texts", "the order of rows is written differently on each engine", "a macro in macros/engine.sql",
        calls("string_agg|group_concat|listagg")),
    Ban("unnest", "explode on Spark", "a macro in macros/engine.sql", calls("unnest|explode|posexplode|inline")),
    Ban("quantile", "named differently on each engine; which value it takes of several may differ",
        "a macro in macros/engine.sql", calls("quantile.*|(approx_)?percentile.*|approx_.*|mode")),
    Ban("any row", "which of several rows it takes is open", "min, max or qualify row_number() over (… order by …) = 1",
        calls("any_value|first|last|arbitrary|(arg_?|max_?by|min_?by).*")),
    Ban("JSON", "named differently on each engine", "a column of its own from landing (kafka_sinks/sources)",
        calls("json.*|(get|from|to)_json.*")),
    Ban("regular expression", "named differently on each engine", "the macro matches", calls("regexp.*|rlike")),
    Ban("struct", "named differently on each engine", "columns", calls("struct.*|named_struct|row")),
    Ban("place of a text", "named differently on each engine", "instr(…), with a test on both engines",
        calls("strpos|locate|charindex")),
    Ban("beginning of a text", "written with _ on DuckDB, without on Spark", "like 'abc%'",
        calls("(starts|ends)_?with")),
    Ban("default", "nvl and isnull are of Spark alone", "coalesce(…), or is null", calls("nvl2?|isnull")),
    Ban("end trimmed", "DuckDB trims all spaces of Unicode, Spark the plain one", "the macro trimmed",
        calls("[lrb]trim")),
    Ban("chance", "each build would give other rows", "a column",
        calls("random|rand|uuid|now|today|current_(date|time.*)|localtime.*")),
)  # fmt: skip

BY_MEANING = (
    Ban("trim", "DuckDB trims all spaces of Unicode, Spark the plain one", "the macro trimmed", meanings.plain_trim),
    Ban("lower", "Spark makes two characters of İ, and ς of a last Σ", "the macro small_letters",
        meanings.plain_lower),
    Ban("digits of a double", "1.005 to 2 digits is 1.00 on DuckDB, 1.01 on Spark",
        "round(…) without digits, or cast(… as decimal(p, s)) first", meanings.rounded_to_digits),
    Ban("begin of substr", "0 is the place before the first letter on DuckDB, the first one on Spark",
        "a whole number from 1", meanings.open_substr),
    Ban("unrounded power", "the last digit differs", "round(…) around it", meanings.unrounded_power),
    Ban("type of a quotient", "of decimals a double on DuckDB, a decimal on Spark",
        "the macro ratio, micros_per or rounded_quotient", meanings.decimal_quotient),
    Ban("division by zero", "infinite on DuckDB, an error on Spark", "the macro ratio, or nullif(…, 0)",
        meanings.division_by_zero),
    Ban("cast to a whole number", "DuckDB rounds, Spark cuts", "cast(round(…) as …)", meanings.unrounded_cast),
    Ban("cast to a text", "doubles, times and lists are written differently on each engine",
        "a decimal, the macro epoch_us or list_as_text", meanings.engine_text),
    Ban("days between dates", "a number on DuckDB, an interval on Spark", "a comparison with the macro days_after",
        meanings.date_difference),
    Ban("order of nulls", "nulls come last on DuckDB, first on Spark", "nulls last, or coalesce(…)",
        meanings.order_of_nulls),
    Ban("count of several", "DuckDB counts one expression", "count(*) of a select distinct",
        meanings.count_of_several),
    Ban("sum of doubles", "the order of rows shows in the last digits", "a sum of whole numbers or decimals",
        meanings.sum_of_doubles),
    Ban("backslash", "an escape on Spark, a character on DuckDB", "a class of one character: [.]", meanings.backslash),
)  # fmt: skip

BANS = (*BY_WORDS, *BY_FUNCTION, *BY_MEANING)
