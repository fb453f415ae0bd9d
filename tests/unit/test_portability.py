"""SQL that means something else on DuckDB and on Spark is named, and what stands in its place is not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ad_lakehouse.dbt_delta.inputs import DUCKDB, SPARK
from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_delta.run import environment
from ad_lakehouse.dbt_spark.portability import kinds
from ad_lakehouse.dbt_spark.portability.__main__ import main
from ad_lakehouse.dbt_spark.portability.bans import BANS
from ad_lakehouse.dbt_spark.portability.kinds import Columns
from ad_lakehouse.dbt_spark.portability.project import Project, checks, never_missing
from ad_lakehouse.dbt_spark.portability.reviewed import FUNCTIONS, TYPES, type_name
from ad_lakehouse.dbt_spark.portability.scan import Known, findings, written_by
from ad_lakehouse.dbt_spark.portability.texts import Pair
from ad_lakehouse.quality.contracts import load_contract
from ad_lakehouse.settings import Settings

NAMED = {ban.name: ban for ban in BANS}
KNOWN = Known(
    Columns(
        {
            "whole": kinds.WHOLE, "exact": kinds.DECIMAL, "real": kinds.DOUBLE, "ts": kinds.MOMENT,
            "day": kinds.DATE, "other_day": kinds.DATE, "tags": kinds.LIST,
        },
        frozenset({"id", "ts"}),
    ),
    written_by({DUCKDB: ["epoch_us(x)", "lower(x)", "timestamptz", "cast(x as hugeint)"],
                SPARK: ["unix_micros(x)", "lower(translate(x, 'a', 'b'))", "timestamp", "cast(x as decimal(38, 0))"]}),
)  # fmt: skip

BANNED = [
    ("cast by colons", "select a::integer from t"),
    ("integer division", "select 7 // 2"),
    ("div", "select 7 div 2"),
    ("power", "select a ^ 2 from t"),
    ("power", "select a ** 2 from t"),
    ("square bracket", "select [1, 2]"),
    ("square bracket", "select tags[1] from t"),
    ("curly bracket", "select {'a': 1}"),
    ("colon", "select n: 1"),
    ("colon", "select cast(tags[1:2] as string) from t"),
    ("arrow", "select f(tags, x -> x) from t"),
    ("lambda", "select f(tags, lambda x: x) from t"),
    ("function after a dot", "select a.upper() from t"),
    ("matching operator", "select a ~ 'x' from t"),
    ("matching operator", "select a similar to 'x' from t"),
    ("matching operator", "select a glob 'x' from t"),
    ("null-safe equals", "select a <=> b from t"),
    ("at time zone", "select cast(ts at time zone 'UTC' as date) from t"),
    ("trailing comma", "select a, b, from t"),
    ("trailing comma", "select coalesce(a, b,) from t"),
    ("trailing comma", "select 1, 2,"),
    ("by name", "select 1 as a union all by name select 2 as a"),
    ("star with changes", "select * exclude (a) from t"),
    ("star with changes", "select * replace (1 as a) from t"),
    ("star with changes", "select columns('a.*') from t"),
    ("distinct on", "select distinct on (a) a, b from t"),
    ("asof join", "select a from t asof join u on t.a >= u.a"),
    ("pivot", "select * from t pivot (sum(a) for b in (1, 2))"),
    ("ignore nulls", "select first_value(a ignore nulls) over (order by id) from t"),
    ("sample", "select a from t tablesample (10 percent)"),
    ("sample", "select a from t using sample 10"),
    ("hash", "select hash(a) from t"),
    ("sha256", "select sha256(a) from t"),
    ("log", "select log(a) from t"),
    ("last digit", "select round(exp(a)) from t"),
    ("concat", "select concat(a, b) from t"),
    ("count_if", "select count_if(a) from t"),
    ("difference of times", "select date_diff('day', a, b) from t"),
    ("difference of times", "select datediff(day, a, b) from t"),
    ("text of a time", "select strftime(ts, '%Y') from t"),
    ("epoch", "select epoch_ms(ts) from t"),
    ("epoch", "select make_timestamp(whole) from t"),
    ("part of a date", "select extract(isodow from day) from t"),
    ("part of a date", "select isodow(day) from t"),
    ("time zone", "select timezone('UTC', ts) from t"),
    ("list", "select list_contains(tags, 'a') from t"),
    ("list", "select array_agg(a order by id) from t"),
    ("joined texts", "select string_agg(a, ',') from t"),
    ("unnest", "select unnest(tags) from t"),
    ("quantile", "select quantile_cont(a, 0.5) from t"),
    ("any row", "select arg_max(a, b) from t"),
    ("JSON", "select json_extract_string(a, '$.b') from t"),
    ("regular expression", "select regexp_matches(a, 'b') from t"),
    ("struct", "select struct_pack(1, 2)"),
    ("place of a text", "select strpos(a, 'b') from t"),
    ("beginning of a text", "select starts_with(a, 'b') from t"),
    ("default", "select nvl(a, 0) from t"),
    ("end trimmed", "select rtrim(a) from t"),
    ("chance", "select random()"),
    ("chance", "select current_timestamp"),
    ("trim", "select trim(a) from t"),
    ("lower", "select lower(a) from t"),
    ("digits of a double", "select round(real, 2) from t"),
    ("digits of a double", "select round(unknown, 2) from t"),
    ("begin of substr", "select substr(a, -3) from t"),
    ("begin of substr", "select substr(a, 0, 2) from t"),
    ("unrounded power", "select pow(2.0, a) from t"),
    ("type of a quotient", "select exact / 2 from t"),
    ("type of a quotient", "select unknown / nullif(whole, 0) from t"),
    ("division by zero", "select cast(whole as double) / whole from t"),
    ("division by zero", "select cast(whole as double) / nullif(whole, 1) from t"),
    ("division by zero", "select cast(whole as double) / 0 from t"),
    ("cast to a whole number", "select cast(exact as bigint) from t"),
    ("cast to a whole number", "select cast(2.5 as integer)"),
    ("cast to a whole number", "select cast(-sum(real) as bigint) from t"),
    ("cast to a whole number", "select cast(coalesce(exact * 2, 0) as bigint) from t"),
    ("cast to a whole number", "select cast(case when a then real else 0 end as bigint) from t"),
    ("cast to a whole number", "with p as (select exact * 2 as doubled from t) select cast(doubled as bigint) from p"),
    ("cast to a text", "select cast(real as string) from t"),
    ("cast to a text", "select cast(max(ts) as string) from t"),
    ("days between dates", "select day - other_day from t"),
    ("order of nulls", "select row_number() over (order by id, a) from t"),
    ("order of nulls", "select a from t order by a limit 1"),
    ("order of nulls", "select row_number() over (order by id || a) from t"),
    ("order of nulls", "with p as (select case when a then null else 1 end as c from t) select c from p order by c"),
    ("order of nulls", "with p as (select case when a then 1 end as c from t) select c from p order by c"),
    ("count of several", "select count(distinct a, b) from t"),
    ("sum of doubles", "select sum(cast(a as double)) from t"),
    ("backslash", r"select a from t where a like '\d'"),
]
PORTABLE = [
    "select cast(a as integer) as a, cast(null as string) as b from t",
    "select coalesce(a, 0), nullif(a, ''), greatest(a, b), least(a, b), abs(a), length(a) || ':' || a from t",
    "select sum(a), min(a), max(a), count(*), count(distinct a), count(a) filter (where b) from t group by all",
    "select a from t qualify row_number() over (partition by b order by id) = 1",
    "select a from t order by a nulls last limit 1",
    "select a from t order by a desc limit 1",
    "select lag(a) over (order by ts, coalesce(b, 0)), lead(a, 1, 0) over (order by id) from t",
    "with p as (select case when a then 1 else 2 end as c, id || 'x' as d from t) select c from p order by c, d",
    "with p as (select coalesce(a, 0) as filled from t) select row_number() over (order by filled) from p",
    "select cast(round(exact * 2) as bigint), cast(whole as bigint), cast(unknown as bigint) from t",
    "select cast(round(100 * pow(2.0, a)) as bigint) from t",
    "select round(exact, 2), round(real) from t",
    "select cast(a as double) / nullif(cast(b as double), 0), cast(a as double) / (7 * 24), whole / 2 from t",
    "select cast(whole as string), cast(exact as string), cast(day as string) from t",
    "select day - 1, day + interval 1 day, date '2026-07-01' from t",
    "select a from t where a like 'b%' and a is distinct from 'let''s' and not a in (1, 2) and exists (select 1)",
    "select q.a from (values (1, 2)) as q (a, b)",
    'select "a::b" from "silver.clicks[-1..0]"',
    "select '::', '[x]', '{', 'f(x -> x)', a from t -- a::int",
    "select a as name from t order by name nulls last",
    "from t select a",  # both engines do
    "select a from t semi join u on t.a = u.a",
]


def said(sql: str, spark: str = "", *, bans: tuple[str, ...] = tuple(NAMED), is_table: bool = False) -> list[str]:
    """Construct and reason of each finding."""
    pair = Pair.of(sql, spark or sql, is_table=is_table)
    return [f"{each.construct}: {each.why}" for each in findings(pair, KNOWN, [NAMED[name] for name in bans])]


@pytest.mark.parametrize(("name", "sql"), BANNED)
def test_a_construct_that_is_not_portable_is_found_by_its_ban_alone(name: str, sql: str) -> None:
    reason = NAMED[name].why
    assert any(each.endswith(reason) for each in said(sql))
    others = tuple(other for other, ban in NAMED.items() if ban.why != reason)
    assert not any(each.endswith(reason) for each in said(sql, bans=others))


def test_every_ban_is_tried() -> None:
    assert {name for name, _ in BANNED} == set(NAMED)
    assert len(NAMED) == len(BANS)


@pytest.mark.parametrize("sql", PORTABLE)
def test_portable_sql_is_not_found(sql: str) -> None:
    assert said(sql) == []


def test_what_a_dispatched_macro_writes_for_one_engine_is_not_found() -> None:
    assert said("select epoch_us(a), lower(a)", "select unix_micros(a), lower(translate(a, 'a', 'b'))") == []
    assert said("select cast(a as timestamptz), cast(b as hugeint)",
                "select cast(a as timestamp), cast(b as decimal(38, 0))") == []  # fmt: skip
    assert said("select f(a) // 2", "select f(a) div 2") == ["f(…): not known to mean the same on both engines"]


@pytest.mark.parametrize("name", ["initcap", "median"])
def test_a_function_that_nobody_reviewed_is_found(name: str) -> None:
    """Also one that a macro writes for Spark alone."""
    assert said(f"select {name}(a) from t") == [f"{name}(…): not known to mean the same on both engines"]


def test_a_function_that_macros_write_for_both_engines_is_no_less_reviewed() -> None:
    known = Known(written=written_by({DUCKDB: ["odd(x)"], SPARK: ["odd(x)"]}))
    assert [each.construct for each in findings(Pair.of("select odd(a)", "select odd(a)"), known)] == ["odd(…)"]


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("timestamp", "the macro timestamp_type"),
        ("decimal", "decimal(p, s)"),
        ("varchar", "string"),
        ("hugeint", "the macro wide"),
        ("float", "double"),
        ("tinyint", "one of bigint"),
    ],
)
def test_a_type_that_is_not_one_on_both_engines_is_found(kind: str, instead: str) -> None:
    for sql in (f"select cast(a as {kind})", f"select cast(coalesce(a, cast(b as {kind})) as boolean)"):
        found = findings(Pair.of(sql, sql), KNOWN)
        assert {each.construct for each in found} == {f"type {kind}"}
        assert all(each.instead.startswith(instead) for each in found)


def test_a_time_without_a_cast_is_found() -> None:
    assert said("select timestamp '2026-07-01 00:00:00'")[0].startswith("type timestamp")


@pytest.mark.parametrize(
    "column", ["a", "coalesce(cast(a as bigint), 0) as a", "cast(a as double) / nullif(b, 0) as a", "*"]
)
def test_a_column_of_a_table_that_is_not_cast_is_found(column: str) -> None:
    typed = "select cast(a as bigint) as a, cast(b as double) / nullif(cast(c as double), 0) as r from t"
    assert said(typed, is_table=True) == []
    assert said(f"select {column} from t") == []
    for sql in (f"select {column} from t", f"{typed} union all select {column}, cast(1 as double) as r from t"):
        assert f"column {column}: each engine gives it a type of its own" in said(sql, is_table=True)
    (found,) = findings(
        Pair.of(*[f"with __dbt__cte__stg_t as (select {column} from t) {typed}"] * 2, is_table=True), KNOWN
    )
    assert (found.construct, found.model) == (f"column {column}", "stg_t")


@pytest.mark.parametrize("sql", ["select from where", "select 'a", "select e'a'", "select a; select b", "drop table t"])
def test_sql_that_is_not_understood_is_found(sql: str) -> None:
    assert said(sql)


def test_checks_that_stop_a_build_are_read_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "silver" / "clicks.yml"
    path.parent.mkdir()
    path.write_text("""dataset: lake/silver/clicks
columns:
  - name: event_id
    checks:
      - missing: {name: every click has an id, attributes: {blocking: true}}
  - name: user_id
    checks:
      - missing: {name: every click has a user}
checks:
  - failed_rows: {name: days are near, qualifier: days, expression: "isodow(a) > 1", attributes: {blocking: true}}
  - failed_rows: {name: days are nearer, qualifier: nearer, expression: "dayofweek(a) > 1"}
  - metric:
      name: few are alike
      qualifier: alike
      expression: hash(max(a))
      filter: a ~ 'x'
      attributes: {blocking: true}
      threshold: {must_be: 0}
  - failed_rows:
      name: sums are right
      qualifier: sums
      query: select log(sum(a)) from {relation} group by all
      attributes: {blocking: true}
""")
    contract = load_contract(path)
    found = {each.construct for piece in checks([contract]) for each in findings(piece.pair, KNOWN)}
    assert found == {"isodow(…)", "hash(…)", "a ~ ''", "log(…)"}
    assert list(never_missing([contract])) == ["event_id"]


@pytest.fixture(scope="module")
def dbt_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """dbt writes here, never into the checkout."""
    folder = tmp_path_factory.mktemp("dbt")
    with environment({"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}):
        yield folder


@pytest.fixture(scope="module")
def project(dbt_folders: Path) -> Project:
    return Project.compiled(Settings(lake=str(dbt_folders / "lake")), project_dir())


def test_our_project_is_portable(project: Project) -> None:
    assert len(project.pieces) > 150
    assert project.findings() == {}


def test_the_reviewed_lists_have_nothing_that_the_project_does_not_use(project: Project) -> None:
    texts = [text for piece in project.pieces for text in piece.pair.texts]
    assert set(FUNCTIONS) <= {name for text in texts for name in text.calls}
    assert set(TYPES) <= {type_name(kind) for text in texts for kind in text.types}


def test_a_finding_names_file_line_construct_and_remedy(
    dbt_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a model, in a macro, in an ephemeral model."""
    small = tmp_path / "small"
    shutil.copytree(project_dir() / "macros", small / "macros")
    for name in ("dbt_project.yml", "profiles.yml", "models/staging/sources.yml", "models/staging/stg_sites.sql",
                 "models/silver/sites.sql"):  # fmt: skip
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project_dir() / name, small / name)
    assert main([str(small)]) == 0
    spoil(small / "models/silver/sites.sql", "cast(category as string)", "cast(\n    hash(category) as string)")
    spoil(small / "models/staging/stg_sites.sql", "cast(publisher as string)", "publisher")
    spoil(small / "macros/validity.sql", "least(", "least(valid_to ::date, ")
    assert main([str(small)]) == 1
    out = capsys.readouterr().out.splitlines()
    written = (small / "models/silver/sites.sql").read_text(encoding="utf-8").splitlines()
    line = written.index("    hash(category) as string) as category,") + 1
    place = f"{small}/models/silver/sites.sql:{line}"
    assert f"{place}: hash(…): a different hash on each engine. Instead: the macro sha256_hex." in out
    assert any(each.startswith(f"{small}/models/staging/stg_sites.sql:") and "column publisher" in each for each in out)
    assert any(each.startswith(f"{small}/macros/validity.sql:") and "valid_to :: date" in each for each in out)
    assert len(out) == 3


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
