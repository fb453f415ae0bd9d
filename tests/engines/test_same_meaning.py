"""What shared SQL is made of means the same on DuckDB and on Spark: dispatched macros, reviewed functions and types.

Each case is one expression and what it must give. All are rendered by dbt once an engine, and run as columns of few
statements, since Spark takes its time for each.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytz
from dbt_common.exceptions import DbtDatabaseError

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_delta.run import invoke
from ad_lakehouse.dbt_spark.portability import reviewed
from ad_lakehouse.dbt_spark.session import OwnCursor
from ad_lakehouse.dbt_spark.types import arrow_type
from ad_lakehouse.lake.views import connect, duckdb_type
from ad_lakehouse.settings import Settings

pytestmark = pytest.mark.usefixtures("spark")

LARGEST = 2**63 - 1  # a bigint
WIDEST = 10**38 - 1
BILLION = 1_000_000_000
BETWEEN = "/* next */"  # of two expressions


@dataclass(frozen=True)
class Fails:
    """Stands for a value: the expression ends with an error that has one of these words on each engine."""

    words: str


OVERFLOW = Fails("overflow|out.of.range|exceeds|could not cast value")
ZERO = Fails("by.zero")
MALFORMED = Fails("could not convert|malformed|field value")


@dataclass(frozen=True)
class Case:
    """An expression with Jinja; with `source` (FROM and what follows) `expected` is a tuple of its rows' values."""

    sql: str
    expected: Any
    kind: str = ""  # DuckDB's name of the type, where it must be the same
    source: str = ""


@dataclass(frozen=True)
class Answer:
    sql: str
    values: tuple[Any, ...] = ()
    kind: str = ""
    error: str = ""


def argument(sql: str) -> str:
    """SQL with Jinja as one expression of Jinja."""
    parts = re.split(r"\{\{(.*?)\}\}", sql)
    return " ~ ".join(f"({part})" if at % 2 else json.dumps(part, ensure_ascii=False) for at, part in enumerate(parts))


def call(macro: str, *arguments: str) -> str:
    return f"{{{{ {macro}({', '.join(map(argument, arguments))}) }}}}"


def given(macro: str, *cases: tuple[Any, ...], kind: str = "", source: str = "") -> list[Case]:
    """One case a row: the macro's arguments, and last what it gives."""
    return [Case(call(macro, *arguments), expected, kind, source) for *arguments, expected in cases]


def big(number: int) -> str:
    return f"cast({number} as bigint)"


def wide(number: int) -> str:
    return call("wide", str(number))


def moment(text: str) -> str:
    return f"cast('{text}' as {{{{ timestamp_type() }}}})"


def day(text: str) -> str:
    return f"cast('{text}' as date)"


def texts(items: str) -> str:
    """A list, for which the engines have no common word."""
    return (
        f"cast({{{{ 'list_value' if target.type == 'duckdb' else 'array' }}}}({items}) as {{{{ text_list_type() }}}})"
    )


def rows(name: str, columns: str, *values: str) -> str:
    """A source; its rows come in the order of their numbers."""
    numbered = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
    return f"from (values {numbered}) as {name} (id, {columns}) order by id"


NO_TEXT = "cast(null as string)"
NO_NUMBER = "cast(null as bigint)"
NO_MOMENT = "cast(null as {{ timestamp_type() }})"
NO_LIST = "cast(null as {{ text_list_type() }})"
ONE_AND_NULL = texts("'a', null")
FAMILY = "👨‍👩‍👧"  # one sign, five code points

# Latin, Greek, Cyrillic, Armenian: blocks that are older than any Java.
LETTERS = "".join(
    each for each in map(chr, (*range(0x250), *range(0x370, 0x590), *range(0x1E00, 0x2000))) if each.isalpha()
)

AGENTS = {
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": True,
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)": True,
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)": True,
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/x)": True,
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0": True,
    "curl/8.5.0": True,
    "PYTHON-REQUESTS/2.31.0": True,
    "Mozilla/5.0 (compatible; Let''s Encrypt validation server; +https://www.letsencrypt.org)": True,
    "SSL Labs": True,
    "SSL Labs 2": False,
    "sogou": False,
    "Sogou": True,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0": False,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1": False,
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0": False,
    "Mozilla/5.0 (Linux; Android 9; CUBOT NOTE 7) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari/537.36": False,
    "": False,
    "é中🤖": False,
}

# (zone, the first moment of a day there, the day before, the day): around both changes of a clock.
FIRST_MOMENTS = [
    ("America/New_York", "2026-03-08 05:00:00", "2026-03-07", "2026-03-08"),
    ("America/New_York", "2026-03-09 04:00:00", "2026-03-08", "2026-03-09"),
    ("America/New_York", "2026-11-01 04:00:00", "2026-10-31", "2026-11-01"),
    ("America/New_York", "2026-11-02 05:00:00", "2026-11-01", "2026-11-02"),
    ("America/New_York", "1850-07-01 04:56:02", "1850-06-30", "1850-07-01"),  # by the sun
    ("America/New_York", "9999-07-01 04:00:00", "9999-06-30", "9999-07-01"),
    ("Europe/Berlin", "2026-03-28 23:00:00", "2026-03-28", "2026-03-29"),
    ("Europe/Berlin", "2026-03-29 22:00:00", "2026-03-29", "2026-03-30"),
    ("Europe/Berlin", "2026-10-24 22:00:00", "2026-10-24", "2026-10-25"),
    ("Europe/Berlin", "2026-10-25 23:00:00", "2026-10-25", "2026-10-26"),
    ("Europe/Berlin", "1969-12-31 23:00:00", "1969-12-31", "1970-01-01"),
    ("Asia/Kolkata", "2026-03-29 18:30:00", "2026-03-29", "2026-03-30"),
    ("Asia/Kolkata", "1943-01-01 17:30:00", "1943-01-01", "1943-01-02"),  # an hour ahead in the war
    ("Pacific/Apia", "2011-12-30 10:00:00", "2011-12-29", "2011-12-31"),  # there was no 30th
    ("Pacific/Apia", "2020-09-26 11:00:00", "2020-09-26", "2020-09-27"),
    ("Pacific/Apia", "2020-09-27 10:00:00", "2020-09-27", "2020-09-28"),
    ("Pacific/Apia", "2021-04-03 10:00:00", "2021-04-03", "2021-04-04"),
    ("Pacific/Apia", "2021-04-04 11:00:00", "2021-04-04", "2021-04-05"),
    ("Pacific/Apia", "2026-10-01 11:00:00", "2026-10-01", "2026-10-02"),  # no summer time any more
    ("UTC", "1970-01-01 00:00:00", "1969-12-31", "1970-01-01"),
]
LOCAL_DAYS = [
    (moment(f"{at}+00:00"), f"'{zone}'", date.fromisoformat(found))
    for zone, first, before, then in FIRST_MOMENTS
    for at, found in ((datetime.fromisoformat(first) - timedelta(microseconds=1), before), (first, then))
]

JOINED = """select{{ with_small(['few']) }} count(few.n)
    from (values (1), (2), (3)) as events (n) left join (values (2), (3)) as few (n) on events.n = few.n"""

DISPATCHED = {
    "epoch_us": [
        *given(
            "epoch_us",
            (moment("1970-01-01 00:00:00+00:00"), 0), (moment("1969-12-31 23:59:59.999999+00:00"), -1),
            (moment("1900-01-01 00:00:00.000001+00:00"), -2_208_988_799_999_999),
            (moment("0001-01-01 00:00:00+00:00"), -62_135_596_800_000_000),
            (moment("2026-07-01 12:34:56.123456+00:00"), 1_782_909_296_123_456),
            (moment("9999-12-31 23:59:59.999999+00:00"), 253_402_300_799_999_999), (NO_MOMENT, None),
            kind="bigint",
        ),
    ],
    "timestamp_type": [
        Case(f"cast({moment('2026-07-01 12:00:00+00:00')} as {{{{ timestamp_type() }}}}) is null", False),
        Case(NO_MOMENT, None, "timestamptz"),
        *given(
            "epoch_us",
            (moment("1970-01-02"), 86_400_000_000), (moment("1970-01-01 00:00:01"), 1_000_000),
            (moment("1970-01-01 05:30:00+05:30"), 0), (moment("1969-12-31 19:00:00.5-05:00"), 500_000),
            (f"cast({day('1970-01-02')} as {{{{ timestamp_type() }}}})", 86_400_000_000),
        ),
        Case(f"cast({moment('2026-07-01 23:59:59.999999+00:00')} as date)", date(2026, 7, 1), "date"),
        Case(f"{moment('2026-07-01 00:00:00.000001+00:00')} > {moment('2026-07-01 02:00:00+02:00')}", True),
        Case(moment("no time"), Fails(f"{MALFORMED.words}|invalid timestamp")),
    ],
    "with_small": [Case(f"({JOINED})", 2)],
    "text_list_type": [
        Case(NO_LIST, None, "varchar[]"), Case(texts("'a', null, ''"), ("a", None, ""), "varchar[]"),
        Case(texts(""), (), "varchar[]"), Case(f"{texts('null')} = {texts('')}", False),
    ],
    "local_day": [
        *given(
            "local_day",
            *LOCAL_DAYS, (moment("9999-12-31 23:59:59.999999"), "'America/New_York'", date(9999, 12, 31)),
            (NO_MOMENT, "'UTC'", None), (moment("2026-01-01"), NO_TEXT, None),
            kind="date",
        ),
        *given(
            "local_day",
            ("ts", "zone", (date(2026, 7, 1), date(2026, 7, 2))),
            source=rows("events", "ts, zone", *[f"{moment('2026-07-01 20:00:00')}, '{zone}'"
                                                for zone in ("America/New_York", "Asia/Kolkata")]),
        ),
    ],
    "days_after": [
        *given(
            "days_after",
            (day("2026-02-28"), "1", date(2026, 3, 1)), (day("2028-02-28"), "1", date(2028, 2, 29)),
            (day("2026-03-01"), "-1", date(2026, 2, 28)), (day("1970-01-01"), "-30", date(1969, 12, 2)),
            (day("2026-03-01"), "0", date(2026, 3, 1)), (day("9999-12-01"), "30", date(9999, 12, 31)),
            (day("1582-10-04"), "1", date(1582, 10, 5)),  # the calendar has no gap
            (day("2026-03-01"), "cast(null as integer)", None), ("cast(null as date)", "1", None),
            kind="date",
        ),
        *given(
            "days_after",
            ("day", "days", (date(2026, 1, 8), date(2025, 12, 25), None)),
            ("day", "2 * days", (date(2026, 1, 15), date(2025, 12, 18), None)),
            source=rows("days", "day, days", *[f"{day('2026-01-01')}, {days}" for days in ("7", "-7", "null")]),
        ),
    ],
    "integer_divide": [
        *given(
            "integer_divide",
            ("7", "2", 3), ("-7", "2", -3), ("7", "-2", -3), ("-7", "-2", 3), ("1", "2", 0), ("-1", "2", 0),
            ("0", "5", 0), ("3 + 4", "1 + 1", 3), ("7", "0", ZERO), (wide(WIDEST), wide(10**20), WIDEST // 10**20),
            (wide(-WIDEST), wide(10**20), -(WIDEST // 10**20)),
            (f"{wide(LARGEST)} * {LARGEST}", wide(LARGEST), LARGEST),
            (f"{wide(LARGEST)} * {LARGEST}", wide(-LARGEST), -LARGEST),
            (wide(3 * (2**62 + 511) + 2), "3", 2**62 + 511), (big(2**62 + 511), "-1", -(2**62) - 511),  # no doubles
        ),
        *given(
            "integer_divide",
            (big(LARGEST), "2", LARGEST // 2), (big(-LARGEST), "2", -(LARGEST // 2)),
            (f"{big(-LARGEST)} - 1", "1", -LARGEST - 1), (f"{big(-LARGEST)} - 1", "-1", OVERFLOW),
            (NO_NUMBER, "2", None), (big(7), NO_NUMBER, None),
            kind="bigint",
        ),
        # More than a bigint stays more on DuckDB and is an error on Spark; whoever casts it gets one on both.
        *[Case(f"cast({each.sql} as bigint)", OVERFLOW) for each in given(
            "integer_divide",
            (wide(10**30), "1", None), (wide(-(10**30)), "1", None), (wide(2**64 + 1), "1", None),
            (wide(2**63), "1", None), (wide(WIDEST), wide(-7), None),
        )],
    ],
    "wide": [
        *given(
            "wide",
            (str(WIDEST), WIDEST), (str(-WIDEST), -WIDEST), ("0", 0), ("-3", -3), (NO_NUMBER, None),
        ),
        Case(f"{wide(LARGEST)} * {LARGEST}", LARGEST * LARGEST),
        Case(f"{wide(-LARGEST)} * {LARGEST} - 1", -LARGEST * LARGEST - 1),
        Case(f"{wide(LARGEST)} + {LARGEST}", 2 * LARGEST),
        Case(f"cast({wide(LARGEST)} as bigint)", LARGEST, "bigint"),
        Case(f"cast({wide(LARGEST)} + 1 as bigint)", OVERFLOW),
    ],
    "sha256_hex": given(
        "sha256_hex",
        # The first two are NIST's examples for SHA-256.
        ("'abc'", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("''", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        *[(f"'{text}'", sha256(text.encode()).hexdigest()) for text in ("é", "e\u0301", FAMILY, "中\n", " ")],
        (NO_TEXT, None),
        kind="varchar",
    ),
    "matches": [
        *given(
            "matches",
            ("agent", "{{ bot_user_agents() }}", tuple(AGENTS.values())),
            source=rows("agents", "agent", *[f"'{agent}'" for agent in AGENTS]),
        ),
        *given(
            "matches",
            (NO_TEXT, "{{ bot_user_agents() }}", None),
            ("'SSL Labs' || chr(10)", "{{ bot_user_agents() }}", False),  # $ is the end, not before a last line break
            ("'Current' || chr(13) || 'RSS Reader'", "{{ bot_user_agents() }}", True),  # . is all but a line feed
            ("'Current' || chr(10) || 'RSS Reader'", "{{ bot_user_agents() }}", False), ("'abc'", "b", True),
            ("'abc'", "^b", False), ("'a$'", "a[$]", True), ("'a('", "a[$]", False), ("'a$'", "a[^$]", False),
            ("'b' || chr(10)", "b$|c", False), ("''", "^$", True), ("chr(10)", "^$", False),
            ("'it''s'", "t''s$", True), ("'x'", "", True), ("'ÉÑ'", "(?i:[a-z])", False), ("'İı'", "(?i:i)", False),
            kind="boolean",
        ),
    ],
    "list_as_text": given(
        "list_as_text",
        (texts("'a', 'b'"), "1:a,1:b"), (texts("'b', 'a'"), "1:b,1:a"), (texts("'a,1:b'"), "5:a,1:b"),
        (texts("'a', null, 'b'"), "1:a,-,1:b"), (texts("null"), "-"), (texts("null, null"), "-,-"),
        (texts("''"), "0:"), (texts("'', ','"), "0:,1:,"), (texts(f"'é', '{FAMILY}', ' '"), f"1:é,5:{FAMILY},1: "),
        (texts(""), ""), (NO_LIST, None),
        kind="varchar",
    ),
    "trimmed": given(
        "trimmed",
        ("'  a b  '", "a b"),
        ("'\u00a0\u1680\u2000\u2001\u2002\u2003\u2004a\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000'", "a"),
        ("'a\u00a0b'", "a\u00a0b"),
        ("'\u200ba\ufeff'", "\u200ba\ufeff"),  # no spaces to Unicode
        ("'\u2028a\u2029'", "\u2028a\u2029"), ("chr(9) || 'a' || chr(10)", "\ta\n"), ("' é中 '", "é中"),
        ("' \u3000 '", ""), ("''", ""), (NO_TEXT, None),
        kind="varchar",
    ),
    "small_letters": given(
        "small_letters",
        ("'AbC-1'", "abc-1"), ("'İSTANBUL'", "istanbul"), ("'ΟΔΟΣ ΟΔΟΣ'", "οδοσ οδοσ"), ("'ẞß'", "ßß"),
        (f"'{LETTERS}'", "".join(each.lower()[0] for each in LETTERS)), ("''", ""), (NO_TEXT, None),
        kind="varchar",
    ),
    "engine_type": [
        Case(f"cast(null as {{{{ engine_type('{kind}') }}}})", None, kind)
        for kind in (
            "varchar", "timestamptz", "varchar[]", "bigint", "integer", "double", "boolean", "date", "decimal(18,9)",
        )
    ],
}  # fmt: skip

FIGURES = """from (values
    (1, 'x', 5, 'b', cast(1.10 as decimal(18, 2)), cast('2026-01-31' as date)),
    (2, 'x', null, 'B', null, null),
    (3, 'x', -7, 'é', -0.35, cast('1969-12-31' as date)),
    (4, 'y', 5, '', 0.01, cast('9999-12-31' as date)),
    (5, 'y', null, null, null, null)
) as figures (id, part, n, name, exact, day)"""
NO_ROWS = f"{FIGURES} where id > 5"
NULLS = f"{FIGURES} where n is null"
IN_ORDER = f"{FIGURES} order by id"
TOUCHES = rows(
    "touches", "conversion_ts, touch_ts",
    *[f"{moment('2026-07-08 00:00:00')}, {moment(touch)}" for touch in (
        "2026-07-08 00:00:00", "2026-07-07 23:59:59.999999", "2026-07-04 12:00:00", "2026-07-01 00:00:00",
        "2026-06-24 00:00:00", "2026-06-08 00:00:00", "2025-07-08 00:00:00",
    )],
)  # fmt: skip
VERSIONS = rows(
    "versions", "valid_from, valid_to, ts",
    *[f"{moment('2026-07-01')}, {moment('2026-07-02')}, {ts}" for ts in (
        moment("2026-06-30 23:59:59.999999"), moment("2026-07-01"), moment("2026-07-01 23:59:59.999999"),
        moment("2026-07-02"), NO_MOMENT,
    )],
    f"{NO_MOMENT}, {NO_MOMENT}, {moment('2026-07-01')}",
)  # fmt: skip


def rates(source_rate: int, own_rate: int) -> str:
    """One event in euros of an advertiser in francs, and what a unit of each is worth in billionths of a dollar."""
    return f"""from (
        select 'EUR' as source_currency, 'CHF' as currency,
            {big(source_rate)} as source_rate, {big(own_rate)} as own_rate
    ) as events"""


BUILT_ON_THEM = {
    "rounded_quotient": [
        *given(
            "rounded_quotient",
            ("5", "2", 3), ("-5", "2", -3), ("4", "3", 1), ("-4", "3", -1), ("5", "3", 2), ("-5", "3", -2),
            ("1", "3", 0), ("0", "3", 0), ("2 + 3", "1 + 1", 3), (NO_NUMBER, "3", None),
            (f"{wide(LARGEST)} * {BILLION}", big(BILLION), LARGEST),
            (f"{wide(-LARGEST)} * {BILLION}", big(BILLION), -LARGEST),
            (f"{wide(-LARGEST)} * 2", "3", -6_148_914_691_236_517_205),
            (f"{wide(LARGEST)} * {BILLION} * {BILLION}", f"{wide(BILLION)} * {BILLION}", LARGEST),
        ),
        *[Case(f"cast({each.sql} as bigint)", OVERFLOW)
          for each in given("rounded_quotient", (f"{wide(LARGEST)} * {BILLION}", "1", None))],
    ],
    "micros_of_cpm": [
        *given("micros_of_cpm", ("500 * n", (2,)), ("-500 * n", (-2,)), ("499 * n", (1,)), source=FIGURES),
        *given("micros_of_cpm", ("n", (0,)), source=NO_ROWS),
        *given("micros_of_cpm", ("n", (0,)), source=NULLS),
    ],
    "in_own_currency": [
        *given(
            "in_own_currency",
            ("10", (12,)),  # 10 × 1.1 / 0.9 = 12.2
            ("-10", (-12,)), ("0", (0,)), (NO_NUMBER, (None,)),
            (big(LARGEST // 2), ((2 * (LARGEST // 2) * 11 + 9) // 18,)), (big(LARGEST), OVERFLOW),
            (big(-LARGEST), OVERFLOW),
            kind="bigint", source=rates(1_100_000_000, 900_000_000),
        ),
        *given("in_own_currency", ("1", (1,)), ("-1", (-1,)), source=rates(1, 2)),
        *given("in_own_currency", (big(LARGEST), OVERFLOW), source=rates(LARGEST, 1)),
        *given("in_own_currency", (big(LARGEST), (LARGEST,)), source=rates(10**18, 10**18)),
    ],
    "share_floor": given(
        "share_floor",
        (big(BILLION), big(1), big(3), 333_333_333), (big(BILLION), big(2), big(3), 666_666_666),
        (big(BILLION), big(0), big(3), 0), (big(0), big(1), big(3), 0), (big(1), big(2), big(3), 0),
        (big(LARGEST), big(333_333_333), big(BILLION), LARGEST * 333_333_333 // BILLION),
        (big(LARGEST), big(BILLION), big(BILLION), LARGEST), (NO_NUMBER, big(1), big(3), None),
        kind="bigint",
    ),
    "share_remainder": given(
        "share_remainder",
        (big(BILLION), big(1), big(3), 1), (big(BILLION), big(2), big(3), 2), (big(9), big(2), big(3), 0),
        (big(LARGEST), big(333_333_333), big(BILLION), LARGEST * 333_333_333 % BILLION),
        (NO_NUMBER, big(1), big(3), None),
        kind="bigint",
    ),
    "micros_per": given(
        "micros_per",
        ("5", "2", 3), ("-5", "2", -3), ("1", "3", 0), ("2", "3", 1), ("1e9 * 5", "2", 2_500_000_000), ("0", "3", 0),
        ("5", "0", None), ("0", "0", None), ("5", NO_NUMBER, None), (NO_NUMBER, "5", None),
        ("cast(0.7 as decimal(18, 9))", "cast(0.2 as decimal(18, 9))", 3),  # 3.4999999999999996 as doubles
        (big(2**53 + 1), "1", 2**53), (big(LARGEST), "cast(0.5 as double)", OVERFLOW),
        kind="bigint",
    ),
    "billionths_as_decimal": [
        *given(
            "billionths_as_decimal",
            ("1", Decimal("1e-9")), ("-1", Decimal("-1e-9")), (big(BILLION), 1), ("0", 0), (NO_NUMBER, None),
            kind="decimal(18,9)",
        ),
        *[Case(f"cast({each.sql} as string)", each.expected) for each in given(
            "billionths_as_decimal",
            ("333333333", "0.333333333"), ("-1", "-0.000000001"), (big(10**18 - 1), "999999999.999999999"),
        )],
        *given("billionths_as_decimal", (big(10**18), OVERFLOW)),
    ],
    "decay_weight": [
        Case(
            "{{ decay_weight() }}",
            (BILLION, BILLION, 707_106_781, 500_000_000, 250_000_000, 51_270_960, 1),
            source=TOUCHES,
        ),
    ],
    "upper_code": given(
        "upper_code",
        ("'abcdefghijklmnopqrstuvwxyz-1'", "ABCDEFGHIJKLMNOPQRSTUVWXYZ-1"),
        ("' usd '", "USD"), ("'\u00a0eur\u3000'", "EUR"), ("'straße'", "STRAßE"), ("'  '", None), ("''", None),
        (NO_TEXT, None),
        kind="varchar",
    ),
    "lower_code": given(
        "lower_code",
        ("' News.EXAMPLE '", "news.example"), ("'\u00a0İ\u3000'", "i"), ("'\u3000'", None), ("''", None),
        (NO_TEXT, None),
        kind="varchar",
    ),
    "count_where": [
        *given("count_where", ("n > 0", (2,)), ("n is null", (2,)), ("n > 5", (0,)), kind="bigint", source=FIGURES),
        *given("count_where", ("n > 0", (0,)), kind="bigint", source=NO_ROWS),
        *given("count_where", ("n > 0", (0,)), kind="bigint", source=NULLS),
    ],
    "holds_at": given(
        "holds_at",
        ("versions", "versions.ts", (False, True, True, False, False, False)),
        kind="boolean",
        source=VERSIONS,
    ),
    "is_time_zone": given(
        "is_time_zone",
        ("'Europe/Berlin'", True), ("'UTC'", True), ("'europe/berlin'", False), ("'+02:00'", False),
        ("'Mars/Olympus'", False), ("''", False), (NO_TEXT, False),
        kind="boolean",
    ),
    "payload_text": [
        Case(
            "{{ payload_text({'name': 'text', 'ts': 'timestamp', 'tags': 'list', 'n': 'text', 'exact': 'text',"
            " 'flag': 'text', 'day': 'text'}) }}",
            (
                "3:a:b" "16:1767628800000001" "5:1:a,-" "2:-5" "11:0.000000001" "4:true" "10:1969-12-31",
                "-------",
                "0:" "2:-1" "0:" "20:-9223372036854775807" "11:1.500000000" "5:false" "10:9999-12-31",
            ),
            source=rows(
                "events", "name, ts, tags, n, exact, flag, day",
                f"'a:b', {moment('2026-01-05 16:00:00.000001')}, {ONE_AND_NULL}, {big(-5)},"
                f" cast(0.000000001 as decimal(18, 9)), true, {day('1969-12-31')}",
                f"null, {NO_MOMENT}, {NO_LIST}, null, null, null, null",
                f"'', {moment('1969-12-31 23:59:59.999999')}, {texts('')}, {big(-LARGEST)}, 1.5, false,"
                f" {day('9999-12-31')}",
            ),
        ),
    ],
}  # fmt: skip

FUNCTIONS = {
    "abs": [
        Case("abs(-3)", 3), Case("abs(0)", 0), Case(f"abs({big(-LARGEST)})", LARGEST, "bigint"),
        Case(f"abs({big(-LARGEST)} - 1)", OVERFLOW), Case(f"abs({NO_NUMBER})", None, "bigint"),
        Case("abs(cast(-2.50 as decimal(5, 2)))", 2.5, "decimal(5,2)"),
        Case("abs(cast(-0.5 as double))", 0.5, "double"),
    ],
    "coalesce": [
        Case("coalesce(null, 1)", 1), Case("coalesce('', 'x')", ""), Case("coalesce(0, 1)", 0),
        Case(f"coalesce({NO_TEXT}, null)", None, "varchar"), Case("coalesce(2, cast(null as integer), 1)", 2),
        Case("coalesce(n, id)", (5, 2, -7, 5, 5), source=IN_ORDER),
    ],
    "count": [
        Case("count(*)", (5,), "bigint", FIGURES), Case("count(n)", (3,), "bigint", FIGURES),
        Case("count(name)", (4,), "bigint", FIGURES), Case("count(distinct n)", (2,), "bigint", FIGURES),
        Case("count(n) filter (where n > 0)", (2,), "bigint", FIGURES), Case("count(*)", (0,), "bigint", NO_ROWS),
        Case("count(n)", (0,), "bigint", NO_ROWS), Case("count(n)", (0,), "bigint", NULLS),
        Case("count(distinct n)", (0,), "bigint", NULLS),
        Case("count(n) over (partition by part)", (2, 2, 2, 1, 1), "bigint", IN_ORDER),
    ],
    "first_value": [
        Case("first_value(n) over (partition by part order by id)", (5, 5, 5, 5, 5), source=IN_ORDER),
        Case("first_value(n) over (partition by part order by id desc)", (-7, -7, -7, None, None), source=IN_ORDER),
        Case("first_value(name) over (order by n desc, id)", ("b",) * 5, source=IN_ORDER),
        Case("first_value(id) over (order by n nulls last, id)", (3,) * 5, source=IN_ORDER),
    ],
    "greatest": [
        Case("greatest(1, null, 3)", 3), Case("greatest(-1, cast(null as integer))", -1),
        Case(f"greatest({NO_NUMBER}, null)", None, "bigint"), Case("greatest(-2, -3)", -2),
        Case("greatest('b', 'B', 'a')", "b"), Case("greatest('z', 'é')", "é"),
        Case("greatest('\ufffd', '🤖')", "🤖"),  # the other way round by the 16-bit units of Java
        Case("greatest('a', 'a ')", "a "), Case("greatest('', null)", ""),
        Case(f"greatest({day('2026-01-01')}, {day('1969-12-31')})", date(2026, 1, 1), "date"),
        Case("greatest(cast(1 as decimal(9, 2)), cast(1.5 as decimal(9, 2)))", 1.5, "decimal(9,2)"),
    ],
    "lag": [
        Case("lag(n) over (order by id)", (None, 5, None, -7, 5), source=IN_ORDER),
        Case("lag(n, 1, 0) over (order by id)", (0, 5, None, -7, 5), source=IN_ORDER),
        Case("lag(n, 2, 0) over (order by id)", (0, 0, 5, None, -7), source=IN_ORDER),
        Case("lag(name) over (partition by part order by id)", (None, "b", "B", None, ""), source=IN_ORDER),
        Case("lag(id) over (order by n desc, id)", (None, 3, 4, 1, 2), source=IN_ORDER),
    ],
    "lead": [
        Case("lead(n) over (order by id)", (None, -7, 5, None, None), source=IN_ORDER),
        Case("lead(n, 1, 0) over (order by id)", (None, -7, 5, None, 0), source=IN_ORDER),
        Case("lead(n, 2, 0) over (order by id)", (-7, 5, None, 0, 0), source=IN_ORDER),
        Case("lead(day) over (partition by part order by id)", (None, date(1969, 12, 31), None, None, None),
             source=IN_ORDER),
        Case("lead(id) over (order by n desc, id)", (4, 5, 2, 3, None), source=IN_ORDER),
    ],
    "least": [
        Case("least(1, null, 3)", 1), Case(f"least({NO_NUMBER}, null)", None, "bigint"), Case("least(-2, -3)", -3),
        Case("least('b', 'B', 'a')", "B"), Case("least('z', 'é')", "z"), Case("least('\ufffd', '🤖')", "\ufffd"),
        Case("least('', 'a', null)", ""),
        Case(f"least({day('2026-01-01')}, {day('1969-12-31')})", date(1969, 12, 31), "date"),
        Case("least(1.5, 1)", 1),
    ],
    "length": [
        Case("length('')", 0), Case("length(' a ')", 3), Case("length('é')", 1), Case("length('e\u0301')", 2),
        Case("length('中🤖')", 2), Case(f"length('{FAMILY}')", 5), Case(f"length({NO_TEXT})", None),
    ],
    "lower": [
        Case("lower('AbC-1')", "abc-1"), Case("lower('ÀÉß')", "àéß"), Case("lower('')", ""),
        Case(f"lower({NO_TEXT})", None, "varchar"),
    ],
    "max": [
        Case("max(n)", (5,), source=FIGURES), Case("max(name)", ("é",), "varchar", FIGURES),
        Case("max(exact)", (Decimal("1.10"),), "decimal(18,2)", FIGURES),
        Case("max(day)", (date(9999, 12, 31),), "date", FIGURES), Case("max(n > 0)", (True,), "boolean", FIGURES),
        Case("max(n)", (None,), source=NO_ROWS), Case("max(n)", (None,), source=NULLS),
        Case("max(name) over (order by id)", ("b", "b", "é", "é", "é"), source=IN_ORDER),
        Case("max(n) over (partition by n)", (5, None, -7, 5, None), source=IN_ORDER),
        Case("max(case id when 1 then '\ufffd' when 2 then '🤖' end)", ("🤖",), source=FIGURES),
    ],
    "min": [
        Case("min(n)", (-7,), source=FIGURES), Case("min(name)", ("",), "varchar", FIGURES),
        Case("min(case when name <> '' then name end)", ("B",), source=FIGURES),
        Case("min(exact)", (Decimal("-0.35"),), "decimal(18,2)", FIGURES),
        Case("min(day)", (date(1969, 12, 31),), "date", FIGURES), Case("min(n > 0)", (False,), "boolean", FIGURES),
        Case("min(n)", (None,), source=NO_ROWS), Case("min(n)", (None,), source=NULLS),
        Case("min(n) over (partition by part)", (-7, -7, -7, 5, 5), source=IN_ORDER),
        Case("min(case id when 1 then '\ufffd' when 2 then '🤖' end)", ("\ufffd",), source=FIGURES),
    ],
    "nullif": [
        Case("nullif(1, 1)", None), Case("nullif(2, 1)", 2), Case("nullif('', '')", None),
        Case("nullif('a', 'A')", "a"), Case("nullif('a', 'a ')", "a"),
        Case(f"nullif({NO_TEXT}, 'a')", None, "varchar"), Case(f"nullif('a', {NO_TEXT})", "a"),
        Case("nullif(cast(0.0 as double), 0)", None, "double"),
        Case("nullif(-cast(0.0 as double), 0)", None, "double"),
    ],
    "pow": [
        Case("cast(round(1000000000 * pow(2.0, cast(-0.37 as double))) as bigint)", 773_782_497, "bigint"),
        Case("cast(round(1000000000 * pow(2.0, cast(-29.9 as double))) as bigint)", 1),
        Case("cast(round(1000000000 * pow(2.0, cast(-2000 as double))) as bigint)", 0),
        Case("round(pow(2.0, 10))", 1024, "double"), Case("round(pow(0.0, 0))", 1, "double"),
        Case("round(pow(-2.0, 3))", -8, "double"), Case("round(100 * pow(2, -1))", 50, "double"),
        Case("round(pow(2.0, cast(null as double)))", None, "double"),
    ],
    "round": [
        Case("round(cast(2.5 as double))", 3, "double"), Case("round(cast(3.5 as double))", 4, "double"),
        Case("round(cast(-2.5 as double))", -3, "double"), Case("round(cast(-0.5 as double))", -1, "double"),
        Case("round(cast(-0.4 as double))", 0, "double"),
        Case("round(cast(0.49999999999999994 as double))", 0, "double"),
        Case("round(cast(4503599627370497.5 as double))", 4_503_599_627_370_498, "double"),
        Case("round(cast(9007199254740993 as double))", 2**53, "double"),
        Case("round(cast(1e300 as double))", 1e300, "double"), Case("round(cast(null as double))", None, "double"),
        Case("round(cast(2.5 as decimal(18, 3)))", 3), Case("round(cast(-2.5 as decimal(18, 3)))", -3),
        Case("round(cast(2.499 as decimal(18, 3)))", 2),
        Case("cast(round(cast(2.675 as decimal(18, 3)), 2) as string)", "2.68"),
        Case("cast(round(cast(-2.675 as decimal(18, 3)), 2) as string)", "-2.68"),
        Case("cast(round(cast(1.0049 as decimal(18, 4)), 2) as string)", "1.00"),
        Case("cast(round(cast(99999999.1234567894 as decimal(27, 10)) * 1000000000) as bigint)",
             99_999_999_123_456_789, "bigint"),
    ],
    "row_number": [
        Case("row_number() over (order by id)", (1, 2, 3, 4, 5), source=IN_ORDER),
        Case("row_number() over (partition by part order by id desc)", (3, 2, 1, 2, 1), source=IN_ORDER),
        Case("row_number() over (order by n desc, id)", (1, 4, 3, 2, 5), source=IN_ORDER),
        Case("row_number() over (order by n nulls last, id)", (2, 4, 1, 3, 5), source=IN_ORDER),
        Case("row_number() over (order by coalesce(name, ''), id)", (4, 3, 5, 1, 2), source=IN_ORDER),
        Case("row_number() over (partition by n order by id)", (1, 1, 1, 2, 2), source=IN_ORDER),
    ],
    "sum": [
        Case("cast(sum(n) as bigint)", (3,), "bigint", FIGURES),
        Case("sum(cast(exact as decimal(18, 2)))", (Decimal("0.76"),), source=FIGURES),
        Case("cast(sum(exact) as string)", ("0.76",), source=FIGURES),
        Case("cast(sum(n * 2000000000) as bigint)", Fails("overflow"), source=f"{FIGURES} where id in (1, 4)"),
        Case(f"cast(sum({LARGEST // 5} * n) as bigint)", OVERFLOW, source=FIGURES + " where id in (1, 4)"),
        Case(f"cast(sum({LARGEST // 10} * n) as bigint)", (LARGEST // 10 * 10,), source=FIGURES + " where n > 0"),
        Case("sum(n)", (None,), source=NO_ROWS), Case("sum(n)", (None,), source=NULLS),
        Case("sum(exact)", (None,), source=NO_ROWS),
        Case("sum(n) over (order by id)", (5, 5, -2, 3, 3), source=IN_ORDER),
        Case("sum(n) over (partition by n)", (10, None, -7, 10, None), source=IN_ORDER),
        Case("sum(id) over (order by n desc)", (5, 15, 8, 5, 15), source=IN_ORDER),
    ],
    "trim": [
        Case("trim('  a b  ')", "a b"), Case("trim('   ')", ""), Case("trim('')", ""),
        Case("trim(chr(9) || 'a' || chr(10))", "\ta\n"), Case(f"trim({NO_TEXT})", None, "varchar"),
    ],
    "translate": [
        Case("translate('usd-1 ß', 'usd', 'USD')", "USD-1 ß"), Case("translate('İi', 'i', 'I')", "İI"),
        Case("translate('abca', 'ac', 'xy')", "xbyx"), Case("translate('ab', 'ab', 'ba')", "ba"),
        Case("translate('Aé中🤖', 'é🤖', 'eb')", "Ae中b"), Case("translate('e\u0301', 'e', 'x')", "x\u0301"),
        Case("translate('abc', 'ab', 'x')", "xc"), Case("translate('abc', 'a', 'xyz')", "xbc"),
        Case("translate('aa', 'aa', 'xy')", "xx"), Case("translate('', 'a', 'A')", ""),
        Case(f"translate({NO_TEXT}, 'a', 'A')", None, "varchar"),
    ],
}  # fmt: skip

TYPES = {
    "bigint": [
        Case(f"cast({LARGEST} as bigint)", LARGEST, "bigint"), Case("cast(' -12 ' as bigint)", -12, "bigint"),
        Case("cast('x' as bigint)", MALFORMED), Case("cast('' as bigint)", MALFORMED),
        Case("cast(9223372036854775808 as bigint)", OVERFLOW), Case(f"{big(LARGEST)} + 1", OVERFLOW),
        Case(f"{big(LARGEST)} * 2", OVERFLOW), Case(f"{big(7)} / 2", 3.5, "double"),
        Case(f"{big(-7)} % 3", -1, "bigint"), Case(f"{big(-7)} % 0", ZERO),
    ],
    "boolean": [
        Case("cast('true' as boolean)", True, "boolean"), Case("cast('f' as boolean)", False, "boolean"),
        Case("cast('x' as boolean)", MALFORMED), Case("cast(null as boolean) or true", True, "boolean"),
        Case("cast(null as boolean) and true", None, "boolean"), Case("1 in (2, null)", None, "boolean"),
        Case("1 is distinct from null", True, "boolean"),
    ],
    "date": [
        Case("cast('2026-07-01' as date)", date(2026, 7, 1), "date"),
        Case("cast('0001-01-01' as date)", date(1, 1, 1), "date"),
        Case("cast('9999-12-31' as date)", date(9999, 12, 31), "date"), Case("cast('2026-02-30' as date)", MALFORMED),
        Case("cast(cast('0001-01-01' as date) as string)", "0001-01-01", "varchar"),
        Case("cast('2026-07-01' as date) - 1", date(2026, 6, 30), "date"),
        Case("cast('2026-01-31' as date) > cast('1969-12-31' as date)", True, "boolean"),
    ],
    "decimal(p, s)": [
        Case("cast(12.345 as decimal(4, 2))", Decimal("12.35"), "decimal(4,2)"),
        Case("cast(-12.345 as decimal(4, 2))", Decimal("-12.35"), "decimal(4,2)"),
        Case("cast('12.345' as decimal(4, 2))", Decimal("12.35"), "decimal(4,2)"),
        Case("cast(123.45 as decimal(4, 2))", OVERFLOW),
        Case("cast('123.45' as decimal(4, 2))", Fails(f"{MALFORMED.words}|{OVERFLOW.words}")),
        Case("cast(cast(0.000000001 as decimal(18, 9)) as string)", "0.000000001", "varchar"),
        Case("cast(cast(0 as decimal(18, 9)) as string)", "0.000000000", "varchar"),
        Case(f"cast({WIDEST} as decimal(38, 0))", WIDEST, "decimal(38,0)"),
    ],
    "double": [
        Case("cast(0.1 as double)", 0.1, "double"),
        Case("cast(0.1 as double) + cast(0.2 as double)", 0.1 + 0.2, "double"),
        Case("cast('1e400' as double)", float("inf"), "double"),
        Case("cast(1 as double) / nullif(cast(0 as double), 0)", None, "double"),
        Case(f"cast({LARGEST} as double)", float(LARGEST), "double"), Case("cast('x' as double)", MALFORMED),
    ],
    "integer": [
        Case("cast(2147483647 as integer)", 2**31 - 1, "integer"), Case("cast(3000000000 as integer)", OVERFLOW),
        Case("cast(2147483647 as integer) + 1", OVERFLOW), Case("cast(true as integer)", 1, "integer"),
        Case("-7 % 3", -1, "integer"), Case("7 / 2", 3.5, "double"),
    ],
    "string": [
        Case("cast(true as string)", "true", "varchar"), Case(f"cast({big(-5)} as string)", "-5", "varchar"),
        Case("cast('é' as string)", "é", "varchar"), Case("'a' || cast(null as string)", None, "varchar"),
        Case("'a' || 1 || ':' || length('é')", "a1:1", "varchar"), Case("'a' = 'a '", False, "boolean"),
        Case("'B' < 'a' and 'z' < 'é' and '\ufffd' < '🤖'", True, "boolean"),
        Case("'Let''s' || '\n'", "Let's\n", "varchar"),
    ],
}  # fmt: skip

CASES: Mapping[str, list[Case]] = {**DISPATCHED, **BUILT_ON_THEM, **FUNCTIONS, **TYPES}

# Moments at which a zone's day is compared, in both halves of a year and of a day.
AT = [datetime(2015, month, 15, hour, 30, tzinfo=UTC) for month in (1, 7) for hour in (9, 15)]
OF_ZONES = [call("is_time_zone", "zone"), *[call("local_day", moment(str(each)), "zone") for each in AT]]

Run = Callable[[str], tuple[list[str], list[tuple[Any, ...]]]]  # a statement's types and rows


@dataclass(frozen=True)
class Engine:
    """`of_zones`: OF_ZONES as SQL."""

    run: Run
    of_zones: Sequence[str]
    answers: Mapping[Case, Answer]


def on_duckdb(sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    found = connect().execute(sql)
    kinds = [str(each[1]).lower().replace("timestamp with time zone", "timestamptz") for each in found.description]
    return kinds, found.fetchall()


def on_spark(sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Types by DuckDB's names; "" for one that no table of ours holds."""
    cursor = OwnCursor()
    cursor.execute(sql)
    return [duckdb_name(each[1]) for each in cursor.description], [tuple(row) for row in cursor.fetchall()]


def duckdb_name(spark: str) -> str:
    try:
        return duckdb_type(arrow_type(spark))
    except KeyError:
        return ""


ENGINES: Mapping[str, Run] = {"prod": on_duckdb, "spark": on_spark}  # by dbt's target


def rendered(expressions: Sequence[str], target: str, settings: Settings) -> list[str]:
    command = ["compile", "--no-populate-cache", "--inline", BETWEEN.join(expressions)]
    (result,) = invoke(settings, command, target=target).results
    return str(result.node.compiled_code).split(BETWEEN)


def plain(value: Any) -> Any:
    """A list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def answers(sqls: Sequence[str], source: str, run: Run) -> Iterator[Answer]:
    """Of expressions over one source: in one statement, or each in its own when that one fails."""
    columns = ", ".join(f"{sql} as c{number}" for number, sql in enumerate(sqls))
    try:
        kinds, found = run(f"select {columns} {source}")
    except (duckdb.Error, DbtDatabaseError) as error:
        if len(sqls) == 1:
            yield Answer(sqls[0], error=str(error))
        else:
            for sql in sqls:
                yield from answers([sql], source, run)
    else:
        for number, sql in enumerate(sqls):
            yield Answer(sql, tuple(plain(row[number]) for row in found), kinds[number])


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """With all cases tried. What should fail stands in a statement of its own."""
    settings, run = Settings(lake=str(tmp_path_factory.mktemp("lake"))), ENGINES[request.param]
    cases = list(chain.from_iterable(CASES.values()))
    written = [*OF_ZONES, *chain.from_iterable((case.sql, case.source) for case in cases)]
    sqls = rendered(written, request.param, settings)
    of_zones, of_cases = sqls[: len(OF_ZONES)], sqls[len(OF_ZONES) :]
    statements: dict[Any, dict[Case, str]] = defaultdict(dict)
    for case, sql, source in zip(cases, of_cases[::2], of_cases[1::2], strict=True):
        statements[source, isinstance(case.expected, Fails) and case][case] = sql
    found: dict[Case, Answer] = {}
    for (source, _), wanted in statements.items():
        found |= zip(wanted, answers([*wanted.values()], source, run), strict=True)
    return Engine(run, of_zones, found)


@pytest.mark.parametrize("name", CASES)
def test_both_engines_give_what_is_expected(name: str, engine: Engine) -> None:
    for case in CASES[name]:
        answer = engine.answers[case]
        if isinstance(case.expected, Fails):
            assert re.search(case.expected.words, answer.error, re.IGNORECASE), answer
        else:
            assert answer.error == "", answer.sql
            assert answer.values == (case.expected if case.source else (case.expected,)), answer.sql
            assert case.kind in ("", answer.kind), answer.sql


def test_every_zone_that_passes_for_one_has_its_days_on_both_engines(engine: Engine) -> None:
    """An engine stops at a zone that it doesn't know."""
    passes, *days = engine.of_zones
    zones = sorted(re.findall(r"'(.+?)'", passes))
    assert len(zones) > 400
    source = ", ".join(f"('{zone}')" for zone in zones)
    _, found = engine.run(f"select zone, {', '.join(days)} from (values {source}) as zones (zone) order by zone")
    assert found == [(zone, *[each.astimezone(pytz.timezone(zone)).date() for each in AT]) for zone in zones]


def test_spark_joins_small_tables_without_moving_the_events(tmp_path: Path) -> None:
    (sql,) = rendered([JOINED], "spark", Settings(lake=str(tmp_path)))
    on_spark("set spark.sql.autoBroadcastJoinThreshold=-1")  # only the hint is left
    try:
        _, ((hinted,),) = on_spark(f"explain {sql}")
        _, ((plan,),) = on_spark(f"explain {sql.replace('/*+', '/*')}")
    finally:
        on_spark("reset spark.sql.autoBroadcastJoinThreshold")
    assert "BroadcastHashJoin" in hinted
    assert "BroadcastHashJoin" not in plan


def test_every_macro_that_differs_by_engine_is_tried() -> None:
    text = (project_dir() / "macros" / "engine.sql").read_text(encoding="utf-8")
    assert set(re.findall(r"adapter[.]dispatch\('(\w+)'", text)) == set(DISPATCHED)


def test_every_reviewed_function_and_type_is_tried() -> None:
    assert set(FUNCTIONS) == set(reviewed.FUNCTIONS)
    assert set(TYPES) == set(reviewed.TYPES)


@pytest.mark.parametrize(("name", "cases"), {**DISPATCHED, **BUILT_ON_THEM, **FUNCTIONS}.items())
def test_cases_are_of_what_they_stand_under(name: str, cases: list[Case]) -> None:
    assert cases
    for case in cases:
        assert re.search(rf"\b{name}\(", case.sql), case
