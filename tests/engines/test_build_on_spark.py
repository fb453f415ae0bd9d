"""Builds on Spark, of the small project and of single tables: what is rebuilt, replaced, refused, and undone."""

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from deltalake.schema import ArrayType, PrimitiveType
from one_table import COLUMNS, SAME_DAY, SHOWN, Builder, published, show, version
from small_lake import BUILT, CONTRACTS, SmallLake, at, day

from ad_lakehouse.dbt_delta.audit import BlockedByCheck
from ad_lakehouse.dbt_delta.engine import Overtaken
from ad_lakehouse.dbt_delta.inputs import SPARK, ModelError
from ad_lakehouse.dbt_delta.model import Model, Request
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.store import Build, Outcome
from ad_lakehouse.dbt_spark.audit import Result
from ad_lakehouse.dbt_spark.session import OwnCursor
from ad_lakehouse.dbt_spark.staging import SparkStaging
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.retention import retain
from ad_lakehouse.lake.writer import WRITER, NotTheWriter, hand_over

pytestmark = pytest.mark.usefixtures("spark")

SEED = 3
DAY = "`bronze.impressions[0..0]`"
ON_SPARK = SAME_DAY.replace('"', "`")


def execute(sql: str) -> Result:
    """One statement on the session, as the adapter runs it."""
    cursor = OwnCursor()
    cursor.execute(sql)
    description = list(cursor.description)
    return Result(description, [tuple(row) for row in cursor.fetchall()] if description else [])


class SparkBuilder:
    """One process that builds one table with Spark, knowing what DuckDB makes of the same text."""

    def __init__(self, small: SmallLake, sql: str = ON_SPARK, request: Request | None = None, **config: Any) -> None:
        pins = Pins(small.lake)
        pins.pin_all()
        on_duckdb = Model.of("silver", "impressions", sql.replace("`", '"'), config)
        model = Model.of("silver", "impressions", sql, config, engine=SPARK, other_codes=on_duckdb.codes)
        staging = SparkStaging(model, pins, execute)
        self.build = Build(model, pins, staging, request or Request(contracts=CONTRACTS))

    def run(self) -> Outcome:
        return self.build.run()


@pytest.fixture(autouse=True)
def nothing_staged() -> None:
    """Tests that stop a build between two steps leave its staged rows."""
    execute("drop database if exists staged cascade")


def left_behind() -> list[Any]:
    """Tables and views of builds."""
    execute("create database if not exists staged")
    views = [row[1] for row in execute("show views").rows if " reads " in row[1]]
    return [*execute("show tables in staged").rows, *views]


def built(small: SmallLake, name: str) -> dict[str, Any]:
    table = TableName.parse(name)
    return TableLog(small.lake, table).recorded_build(small.lake.open(table).version()) or {}


def test_each_engine_goes_on_where_the_other_stopped(small: SmallLake) -> None:
    show(small, 0, 1, 2)
    Builder(small).run()
    show(small, 1)
    outcome = SparkBuilder(small).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.rows, outcome.version) == (1, 1, 2, 2)
    assert built(small, "silver.impressions")["engine"] == "spark"
    assert set(built(small, "silver.impressions")["codes"]) == {"duckdb", "spark"}
    show(small, 2)
    outcome = Builder(small).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.rows) == (1, 1, 2)
    assert set(built(small, "silver.impressions")["codes"]) == {"duckdb", "spark"}
    assert SparkBuilder(small).run().version is None
    assert len(published(small)) == 5


@pytest.mark.timeout(900)
def test_random_landings_built_by_either_engine_equal_a_build_from_nothing(small: SmallLake) -> None:
    print(f"seed {SEED}")  # noqa: T201 pytest shows it when the test fails
    random = Random(SEED)

    def land() -> None:
        small.land("impressions", [
            {"event_id": f"i{random.randrange(20)}", "event_ts": at(random.randrange(5), random.randrange(24)),
             "user_id": f"u{random.randrange(3)}", "campaign_id": f"c{random.randrange(2)}", "price_micros": 5}
            for _ in range(random.choice([1, 6]))
        ])  # fmt: skip
        bought = {"event_id": f"k{small.offset}", "event_ts": at(random.randrange(5), 13), "revenue_micros": 7}
        small.land("conversions", [bought | {"user_id": "u1"}])

    def change_dimension() -> None:
        small.land("campaigns", [{"campaign_id": "c1", "utc_offset_hours": random.randrange(-11, 14)}])

    def erase() -> None:
        small.lake.open(TableName("bronze", "impressions")).delete("user_id = 'u1'")

    def compact() -> None:
        for name in small.lake.tables():
            small.lake.open(name).optimize.compact()

    for action, target in [
        (land, "spark"),
        (change_dimension, "spark"),
        (erase, "spark"),
        (land, "prod"),
        (compact, "spark"),
    ]:
        land()
        action()
        before = small.versions()
        small.build(target=target, threads=4)
        for name, since in before.items():
            if name not in ("silver.campaigns", "marts.totals"):
                assert small.days_committed(name, since) == small.days_differing(name, since), (action, name)
        user = small.build_aside()
        assert {name: found for name in BUILT if (found := small.differences(name, user))} == {}, action
        after = small.versions()
        small.build(target="spark", threads=4)
        assert small.versions() == after, f"a second build committed after {action}"
    assert left_behind() == []


def test_blocking_check_on_spark_leaves_the_last_good_version_and_holds_the_children(
    small: SmallLake, tmp_path: Path
) -> None:
    show(small, 0)
    small.build(target="spark")
    contract = tmp_path / "contracts" / "silver" / "impressions.yml"
    shutil.copytree(CONTRACTS, tmp_path / "contracts")
    contract.write_text(
        "dataset: lake/silver/impressions\n"
        "columns:\n"
        "  - name: user_id\n"
        "    data_type: varchar\n"
        "    checks:\n"
        "      - missing: {name: each impression has a user, attributes: {blocking: true}}\n"
        "      - invalid:\n"
        "          {name: users begin with u, valid_format: {name: u, regex: ^u}, attributes: {blocking: true}}\n"
        "checks:\n"
        "  - schema: {name: columns as declared, attributes: {blocking: true}}\n"
    )
    good = published(small)
    small.settings = small.settings.model_copy(update={"contracts": tmp_path / "contracts"})
    show(small, 1)
    small.build(target="spark")
    assert len(published(small)) == len(good) + 1, "a check that passes lets the rows through"
    good, at_version = published(small), version(small)
    show(small, 2, user=None)
    show(small, 2, user="x")
    report = small.build(target="spark", check=False)
    (failed,) = [each for each in report.results if each.status == "error"]
    assert "each impression has a user: 1 (must be 0)" in failed.message
    assert "users begin with u: 1 (must be 0)" in failed.message
    assert {each.name for each in report.results if each.status == "skipped"} >= {"attribution.credits"}
    assert (published(small), version(small)) == (good, at_version)
    assert left_behind() == []
    with pytest.raises(BlockedByCheck, match="Nothing was published"):
        SparkBuilder(small, request=Request(contracts=tmp_path / "contracts")).run()


@pytest.mark.parametrize(
    ("first", "second"), [(Builder, SparkBuilder), (SparkBuilder, Builder), (SparkBuilder, SparkBuilder)]
)
def test_of_two_builders_the_later_one_plans_again_whatever_the_engines(
    small: SmallLake, first: Any, second: Any
) -> None:
    show(small, 0, 1)
    first(small).run()
    show(small, 1)
    one, other = second(small), first(small)
    draft = one.build.stage()
    assert other.run().days_replaced == 1
    with pytest.raises(Overtaken):
        one.build.publish(draft)
    assert one.run().days_rebuilt == 0
    assert (version(small), len(published(small))) == (2, 3)


def test_build_on_spark_survives_a_compaction_between_its_plan_and_its_commit(small: SmallLake) -> None:
    show(small, 0, 1)
    builder = SparkBuilder(small)
    builder.run()
    half = published(small)
    small.lake.open(SHOWN).delete("event_id = 'no such'")
    show(small, 1)
    builder = SparkBuilder(small)
    draft = builder.build.stage()
    table = small.lake.open(SHOWN)
    for number in range(2):  # of two more files, which hold no rows of their own, compaction makes one
        table.optimize.compact(target_size=1 << 20 << number)
    outcome = builder.build.publish(draft)
    assert outcome.days_replaced == 1
    assert len(published(small)) == len(half) + 1


def test_build_on_spark_plans_again_when_retention_came_between_its_plan_and_its_commit(small: SmallLake) -> None:
    show(small, 0, 1)
    SparkBuilder(small).run()
    show(small, 0, 1)
    builder = SparkBuilder(small)
    draft = builder.build.stage()
    retain(small.lake, SHOWN, day(1))
    with pytest.raises(Overtaken):
        builder.build.publish(draft)
    assert builder.run().days_replaced == 1
    assert {row[0] for row in published(small)} == {day(1)}


def test_commit_whose_answer_was_lost_counts_as_done(small: SmallLake) -> None:
    from dbt_common.exceptions import DbtDatabaseError

    show(small, 0)
    builder = SparkBuilder(small)
    lost = []

    def losing(sql: str) -> Result:
        found = execute(sql)
        if sql.startswith("insert into delta."):
            lost.append(sql)
            raise DbtDatabaseError("the connection was reset")
        return found

    builder.build.staging.execute = losing  # type: ignore[attr-defined]
    assert builder.run().version == 1
    assert len(lost) == 1
    assert left_behind() == []


def test_table_made_by_the_other_engine_between_plan_and_commit_is_not_written(small: SmallLake) -> None:
    """As on an object store, where a new table names the engine that made it."""
    show(small, 0)
    builder = SparkBuilder(small)
    draft = builder.build.stage()
    small.lake.create(
        SHOWN, builder.build.staging.arrow_schema(), partition_by=["event_date"], properties={WRITER: "duckdb"}
    )
    with pytest.raises(NotTheWriter, match="written by duckdb"):
        builder.build.publish(draft)
    assert published(small) == []


def test_day_that_lost_all_its_rows_is_emptied(small: SmallLake) -> None:
    show(small, 0, 1)
    SparkBuilder(small).run()
    small.lake.open(TableName("bronze", "impressions")).delete(f"event_date = '{day(1)}'")
    assert SparkBuilder(small).run().days_replaced == 1
    assert len(published(small)) == 1
    assert SparkBuilder(small).run().version is None


def test_rows_that_differ_only_in_where_a_null_stands_are_replaced(small: SmallLake) -> None:
    """Spark's hash passes over nulls."""
    rows = {"event_id": "i", "event_ts": at(0)}
    small.land("impressions", [rows | {"user_id": "a", "campaign_id": None}])
    sql = f"select {COLUMNS}, campaign_id from {DAY}"
    SparkBuilder(small, sql).run()
    small.lake.open(TableName("bronze", "impressions")).delete()
    small.land("impressions", [rows | {"user_id": None, "campaign_id": "a"}])
    assert SparkBuilder(small, sql).run().days_replaced == 1
    assert published(small) == [("a", day(0), "i", None)]


def test_lists_that_differ_only_in_where_a_null_stands_are_replaced(small: SmallLake) -> None:
    rows = {"event_id": "i", "event_ts": at(0)}
    small.land("impressions", [rows | {"user_id": "a", "campaign_id": None}])
    sql = f"select event_id, event_date, array(user_id, campaign_id) as list from {DAY}"
    SparkBuilder(small, sql).run()
    small.lake.open(TableName("bronze", "impressions")).delete()
    small.land("impressions", [rows | {"user_id": None, "campaign_id": "a"}])
    assert SparkBuilder(small, sql).run().days_replaced == 1
    assert published(small) == [(day(0), "i", [None, "a"])]


def test_other_columns_are_written_anew_and_the_table_keeps_its_properties(small: SmallLake) -> None:
    show(small, 0, 1)
    Builder(small).run()
    properties = small.lake.open(SHOWN).metadata().configuration
    wider = f"select {COLUMNS}, 'it''s' as more, array(1.5, null) as list from {DAY}"
    outcome = SparkBuilder(small, wider.replace("1.5", "cast(1.5 as decimal(4, 2))")).run()
    assert (outcome.days_rebuilt, outcome.rows) == (None, 2)
    assert {row[-2] for row in published(small)} == {"it's"}
    table = small.lake.open(SHOWN)
    assert table.metadata().configuration.items() >= properties.items()
    assert table.metadata().partition_columns == ["event_date"]
    assert table.schema().fields[-1].type == ArrayType(PrimitiveType("decimal(4,2)"), contains_null=True)
    show(small, 1)
    assert Builder(small).run().days_rebuilt is None, "the old text on DuckDB is another code"


def test_days_cut_by_retention_stay_even_when_all_else_is_written_anew(small: SmallLake) -> None:
    show(small, 0, 1, 2, 3)
    SparkBuilder(small).run()
    old = small.rows("silver.impressions", where=f"event_date < date '{day(2)}'")
    assert len(old) == 2
    retain(small.lake, TableName("bronze", "impressions"), day(2))
    show(small, 3)
    assert SparkBuilder(small).run().days_replaced == 1
    wider = f"select {COLUMNS}, 7 as more from {DAY}"
    assert SparkBuilder(small, wider).run().rows == 3
    kept = small.rows("silver.impressions", where=f"event_date < date '{day(2)}'")
    assert [(row[0], row[1]) for row in kept] == [(row[0], row[1]) for row in old]
    assert {row[2] for row in kept} == {None}
    assert len(published(small)) == 5


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"select {COLUMNS}, null as n from {DAY}", r"column n has the type void.*cast\(null"),
        (f"select {COLUMNS}, cast(now() as timestamp_ntz) as t from {DAY}", "t has the type timestamp_ntz"),
        (f"select event_id from {DAY}", "event_date, which is no column of the model"),
        (f"select {COLUMNS} from bronze.impressions", r"reads bronze.impressions without saying.*lake_days"),
        (f"select {COLUMNS} from parquet.`/x`", "without saying which days"),
        (f"select event_id, user_id, cast(null as date) as event_date from {DAY}", "1 rows have no event_date"),
    ],
)
def test_model_that_spark_cannot_build_is_refused_with_the_remedy(small: SmallLake, sql: str, message: str) -> None:
    show(small, 0)
    with pytest.raises(ModelError, match=message):
        SparkBuilder(small, sql).run()
    assert small.lake.open_if_exists(SHOWN) is None
    assert left_behind() == []


def test_error_of_spark_says_what_is_wrong_without_the_stack(small: SmallLake) -> None:
    from dbt_common.exceptions import DbtDatabaseError

    show(small, 0)
    bad = SparkBuilder(small, f"select {COLUMNS}, cast(event_id as int) as n from {DAY}")
    with pytest.raises(DbtDatabaseError, match="CAST_INVALID_INPUT") as caught:
        bad.run()  # without ANSI mode it would give null in silence
    assert "\tat " not in str(caught.value)
    assert left_behind() == []


def test_overflow_is_an_error_and_no_wrong_number(small: SmallLake) -> None:
    from dbt_common.exceptions import DbtDatabaseError

    show(small, 0)
    sql = f"select {COLUMNS}, 9223372036854775807 + _offset as n from {DAY}"
    with pytest.raises(DbtDatabaseError, match="ARITHMETIC_OVERFLOW"):
        SparkBuilder(small, sql).run()


def test_table_that_was_handed_over_is_written_by_that_engine_alone(small: SmallLake) -> None:
    show(small, 0)
    Builder(small).run()
    assert hand_over(small.lake, SHOWN, "spark")
    assert not hand_over(small.lake, SHOWN, "spark")
    show(small, 1)
    with pytest.raises(NotTheWriter, match=r"silver\.impressions is written by spark.*handover --to duckdb"):
        Builder(small).run()
    with pytest.raises(NotTheWriter):
        retain(small.lake, SHOWN, day(1))
    assert SparkBuilder(small).run().days_replaced == 1
    assert hand_over(small.lake, SHOWN, "duckdb")
    with pytest.raises(NotTheWriter, match="written by duckdb"):
        SparkBuilder(small).run()
    assert Builder(small).run().version is None
    assert len(published(small)) == 2


def test_day_asked_for_is_rebuilt_on_spark(small: SmallLake) -> None:
    show(small, 0, 1)
    small.build(target="spark")
    small.settings.transform.engine = "spark"
    from small_lake import PROJECT

    from ad_lakehouse.dbt_delta.run import build

    report = build(small.settings, days=(day(1), day(1)), project=PROJECT).raise_if_failed()
    days = {each.name: each.figures["days_rebuilt"] for each in report.results}
    assert days["silver.impressions"] == 1
    assert built(small, "silver.impressions")["engine"] == "spark"


def test_text_with_dollar_braces_stays_as_it_is(small: SmallLake) -> None:
    show(small, 0)
    SparkBuilder(small, f"select {COLUMNS}, '${{env:HOME}}' as t from {DAY}").run()
    assert published(small)[0][2] == "${env:HOME}"


@pytest.mark.parametrize("local", [True, False])
def test_lake_in_a_folder_with_odd_characters(tmp_path: Path, local: bool) -> None:
    """Staged in the session's own folder, and in the lake as on a cluster."""
    small = SmallLake(tmp_path / "it's a `lake` é")
    show(small, 0, 1)
    builder = SparkBuilder(small)
    builder.build.staging.local = local  # type: ignore[attr-defined]
    draft = builder.build.stage()
    assert list((tmp_path / "it's a `lake` é" / "lake").glob("_staged/*")) != [] or local
    assert builder.build.publish(draft).rows == 2
    builder.build.staging.drop()
    assert list((tmp_path / "it's a `lake` é" / "lake").glob("_staged/*")) == []
    execute("drop database if exists staged cascade")
    show(small, 1)
    assert SparkBuilder(small).run().days_replaced == 1
    assert Builder(small).run().version is None
