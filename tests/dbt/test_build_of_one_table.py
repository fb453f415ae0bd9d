"""What one build does to one table: which days it replaces, what it refuses, what two builders do to each other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from small_lake import CONTRACTS, SmallLake, at, day

from ad_lakehouse.dbt_delta.audit import BlockedByCheck
from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model, Request
from ad_lakehouse.dbt_delta.pins import MissingInput, Pins
from ad_lakehouse.dbt_delta.store import AnotherBuildRuns, Build, Draft, Outcome, Overtaken
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import connect

SHOWN = TableName("silver", "impressions")
COLUMNS = "event_id, user_id, event_date"
SAME_DAY = f'select {COLUMNS} from "bronze.impressions[0..0]"'
CONTRACT = """
dataset: lake/silver/impressions
columns:
  - name: user_id
    checks:
      - missing: {name: every impression has a user, attributes: {blocking: true}}
"""


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    small = SmallLake(tmp_path)
    show(small, 0, 1, 2)
    return small


def show(small: SmallLake, *days: int, user: str | None = "u") -> None:
    small.land("impressions", [{"event_id": f"i{small.offset}-{n}", "event_ts": at(n), "user_id": user} for n in days])


class Builder:
    """One process that builds: pins when it begins, like a run of dbt."""

    def __init__(self, small: SmallLake, sql: str = SAME_DAY, request: Request | None = None, **config: Any) -> None:
        self.pins = Pins(small.lake)
        self.pins.pin_all()
        self.connection = connect()
        self.pins.define_views(self.connection)
        model = Model.of("silver", "impressions", sql, config)
        asked = request or Request()
        self.request = replace(asked, contracts=asked.contracts or CONTRACTS)
        self.build = Build(model, self.pins, self.connection.cursor(), self.request)

    def run(self) -> Outcome:
        return self.build.run()


def published(small: SmallLake) -> list[Any]:
    return small.rows("silver.impressions")


def version(small: SmallLake) -> int:
    return small.lake.open(SHOWN).version()


def test_first_build_takes_all_and_the_next_one_nothing(small: SmallLake) -> None:
    assert Builder(small).run().days_rebuilt is None
    outcome = Builder(small).run()
    assert (outcome.days_rebuilt, outcome.version) == (0, None)
    assert version(small) == 1


def test_late_event_rebuilds_and_replaces_its_day_alone(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)
    outcome = Builder(small).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.rows) == (1, 1, 2)
    assert outcome.reason == f"bronze.impressions changed on {day(1)}"
    assert small.days_committed("silver.impressions", 1) == {day(1)}


def test_day_that_became_empty_is_removed(small: SmallLake) -> None:
    Builder(small).run()
    small.lake.open(TableName("bronze", "impressions")).delete(f"event_date = '{day(1)}'")
    outcome = Builder(small).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.rows) == (1, 1, 0)
    assert {row[0] for row in published(small)} == {day(0), day(2)}


def test_rebuilt_day_that_came_out_the_same_is_not_replaced_but_recorded(small: SmallLake) -> None:
    sql = 'select distinct user_id, event_date from "bronze.impressions[0..0]"'
    Builder(small, sql).run()
    show(small, 1)
    outcome = Builder(small, sql).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.version) == (1, 0, 2)
    assert small.days_committed("silver.impressions", 1) == set()
    assert Builder(small, sql).run().version is None


def test_rows_twice_differ_from_rows_once(small: SmallLake) -> None:
    once = 'select distinct user_id, event_date from "bronze.impressions[0..0]"'
    Builder(small, once).run()
    Builder(small, f"{once} union all {once} union all {once}").run()
    assert len(published(small)) == 9


def test_full_refresh_that_finds_no_difference_commits_nothing(small: SmallLake) -> None:
    Builder(small).run()
    outcome = Builder(small, request=Request(full_refresh=True)).run()
    assert (outcome.days_rebuilt, outcome.days_replaced, outcome.version) == (None, 0, None)


def test_days_asked_for_are_rebuilt_besides(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 2)
    outcome = Builder(small, request=Request(days=frozenset({day(0)}))).run()
    assert (outcome.days_rebuilt, outcome.days_replaced) == (2, 1)


def test_new_columns_of_a_model_rewrite_the_table_in_one_commit(small: SmallLake) -> None:
    Builder(small).run()
    Builder(small, f"select {COLUMNS}, 'x' as more from \"bronze.impressions[0..0]\"").run()
    assert version(small) == 2
    assert {row[2] for row in published(small)} == {"x"}
    Builder(small).run()
    assert len(published(small)[0]) == 3


def test_column_that_an_input_gains_rewrites_a_model_that_takes_every_column(small: SmallLake) -> None:
    sql = 'select * exclude (event_ts, _offset) from "bronze.impressions[0..0]"'
    Builder(small, sql).run()
    small.land("impressions", [{"event_id": "new", "event_ts": at(5), "user_id": "u"}], added_column="extra")
    outcome = Builder(small, sql).run()
    assert outcome.days_rebuilt is None
    assert "columns changed" in outcome.reason
    assert [row[2] for row in published(small)].count("new") == 1


def test_other_partitioning_rewrites_the_table_and_what_reads_it(small: SmallLake) -> None:
    Builder(small).run()
    sql = 'select event_id, user_id, event_date as report_date from "bronze.impressions[0..0]"'
    Builder(small, sql, partition_by="report_date").run()
    assert small.lake.open(SHOWN).metadata().partition_columns == ["report_date"]
    log = TableLog(small.lake, SHOWN)
    assert log.changed_days("report_date", 1, 2) is None  # so a reader rebuilds all


def test_other_order_of_columns_keeps_values_in_their_columns(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)
    Builder(small, 'select event_date, user_id, event_id from "bronze.impressions[0..0]"').run()
    assert {row[2] for row in published(small)} == {"u"}


def test_table_of_one_piece_is_replaced_whole_or_not_at_all(small: SmallLake) -> None:
    sql = 'select user_id, count(*) as shown from "bronze.impressions[all]" group by all'
    assert Builder(small, sql, partition_by="none").run().rows == 1
    small.note("impressions")
    assert Builder(small, sql, partition_by="none").run().days_rebuilt == 0
    show(small, 1, user="v")
    assert Builder(small, sql, partition_by="none").run().rows == 2
    assert published(small) == [(1, "v"), (3, "u")]


def test_model_reads_only_the_files_of_the_days_it_needs(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)
    bronze = small.lake.open(TableName("bronze", "impressions"))
    for uri in bronze.file_uris():
        if f"event_date={day(1)}" not in uri:
            Path(uri).unlink()
    pins = Pins(small.lake)
    pins.pin_all()
    model = Model.of("silver", "impressions", SAME_DAY, {})
    assert Build(model, pins, connect().cursor(), Request(contracts=CONTRACTS)).run().days_replaced == 1


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("sum(1) over () as n", "column n has the type HUGEINT.*cast it to bigint"),
        ("timestamp '2026-01-01' as n", "column n has the type TIMESTAMP,.*timestamptz"),
        ("time '10:00' as n", "column n has the type TIME,"),
        ("null as n", 'column n has the type "NULL".*Give the column a type'),
        ("[cast(1 as hugeint)] as n", "column n has the type HUGEINT"),
        ("{'a': timestamp '2026-01-01'} as n", "column n has the type STRUCT"),
    ],
)
def test_type_that_delta_cannot_hold_is_refused_by_column_name(small: SmallLake, column: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Builder(small, f'select {COLUMNS}, {column} from "bronze.impressions[0..0]"').run()
    assert small.lake.open_if_exists(SHOWN) is None


def test_nested_columns_of_allowed_types_are_published(small: SmallLake) -> None:
    nested = "[{'a': 1, 'b': [event_ts]}] as n, map {'k': 1.5::decimal(18, 6)} as m"
    Builder(small, f'select {COLUMNS}, {nested} from "bronze.impressions[0..0]"').run()
    Builder(small, f'select {COLUMNS}, {nested} from "bronze.impressions[0..0]" ').run()
    assert len(published(small)) == 3
    assert version(small) == 1


@pytest.mark.parametrize(
    "sql", ["select event_id, user_id", "select event_id, cast(event_date as varchar) as event_date"]
)
def test_model_without_its_day_column_is_refused(small: SmallLake, sql: str) -> None:
    with pytest.raises(ModelError, match="partition_by names event_date"):
        Builder(small, f'{sql} from "bronze.impressions[0..0]"').run()


def test_rows_without_a_day_are_refused_in_a_full_and_in_an_incremental_build(small: SmallLake) -> None:
    sql = "select event_id, nullif(event_date, date '2026-07-05') as event_date from \"bronze.impressions[0..0]\""
    Builder(small, sql).run()
    show(small, 4)
    for request in (Request(), Request(full_refresh=True)):
        with pytest.raises(ModelError, match="1 rows have no event_date"):
            Builder(small, sql, request).run()
    assert version(small) == 1


def test_missing_table_is_named_with_the_way_to_make_it(small: SmallLake) -> None:
    with pytest.raises(MissingInput, match=r"bronze\.clicks is not in the lake .*ad-lakehouse land"):
        Builder(small, 'select * from "bronze.clicks[0..0]"').run()
    with pytest.raises(MissingInput, match=r"silver\.clicks is not in the lake .*dbt build --select \+clicks"):
        Builder(small, 'select * from "silver.clicks[0..0]"').run()


def test_table_that_cannot_be_read_fails_only_the_models_that_need_it(small: SmallLake) -> None:
    foreign = Path(small.lake.uri(TableName("bronze", "clicks")))
    DeltaTable.create(str(foreign), small.lake.open(TableName("bronze", "impressions")).schema())
    assert Builder(small).run().rows == 3
    with pytest.raises(MissingInput, match=r"bronze\.clicks cannot be read: .*not created by the ad lakehouse"):
        Builder(small, f'select {COLUMNS} from "bronze.clicks[0..0]"').run()


def test_days_of_a_table_without_days_are_refused(small: SmallLake) -> None:
    sql = 'select user_id, count(*) as shown from "bronze.impressions[all]" group by all'
    Builder(small, sql, partition_by="none").run()
    builder = Builder(small, 'select * from "silver.impressions[0..0]"')
    with pytest.raises(MissingInput, match=r"silver\.impressions has no day partition.*lake_all"):
        builder.run()


def test_failing_blocking_check_leaves_the_last_good_version(small: SmallLake, tmp_path: Path) -> None:
    (tmp_path / "contracts" / "silver").mkdir(parents=True)
    (tmp_path / "contracts" / "silver" / "impressions.yml").write_text(CONTRACT)
    request = Request(contracts=tmp_path / "contracts")
    Builder(small, request=request).run()
    good = published(small)
    show(small, 1, user=None)
    with pytest.raises(BlockedByCheck, match=r"every impression has a user.*Nothing was published"):
        Builder(small, request=request).run()
    assert (published(small), version(small)) == (good, 1)
    show(small, 2)
    with pytest.raises(BlockedByCheck):
        Builder(small, request=request).run()  # the bad day is still stale


def test_of_two_builders_the_later_one_plans_again_and_finds_nothing_to_do(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)
    one, other = Builder(small), Builder(small)
    draft = one.build.stage()
    assert other.run().days_replaced == 1
    with pytest.raises(Overtaken):
        one.build.publish(draft)
    assert one.run().days_rebuilt == 0
    assert version(small) == 2


def test_of_two_first_builders_one_creates_the_table(small: SmallLake) -> None:
    one, other = Builder(small), Builder(small)
    draft = one.build.stage()
    other.run()
    with pytest.raises(Overtaken):
        one.build.publish(draft)
    assert one.run().version is None
    assert len(published(small)) == 3


def test_builder_that_began_earlier_does_not_put_the_older_result_back(small: SmallLake) -> None:
    Builder(small).run()
    early = Builder(small)
    show(small, 1)
    Builder(small).run()
    newer = published(small)
    assert early.run().days_rebuilt == 0
    assert published(small) == newer


class Slow(Build):
    """A builder that is overtaken each time between its plan and its commit."""

    def __init__(self, *given: Any, rival: Iterator[Any]) -> None:
        super().__init__(*given)
        self.rival = rival

    def publish(self, draft: Draft) -> Outcome:
        next(self.rival)
        return super().publish(draft)


def test_builder_overtaken_three_times_gives_up_and_names_the_reason(small: SmallLake) -> None:
    Builder(small).run()
    show(small, 1)

    def rivals() -> Iterator[Any]:
        for number in range(9):  # each time another code, so that there is something to do again
            yield Builder(small, f"{SAME_DAY} where user_id <> '{number}'").run()

    slow = Builder(small)
    build = Slow(slow.build.model, slow.pins, slow.connection.cursor(), slow.request, rival=rivals())
    with pytest.raises(AnotherBuildRuns, match=r"silver\.impressions: other builds committed first, 3 times"):
        build.run()


def test_staged_rows_do_not_stay_in_memory(small: SmallLake) -> None:
    builder = Builder(small)
    builder.run()
    found = builder.connection.execute("select schema_name from duckdb_schemas() where schema_name like 'staged%'")
    assert found.fetchall() == []
    bad = Builder(small, f"select {COLUMNS}, error('no') as n from \"bronze.impressions[0..0]\"")
    with pytest.raises((duckdb.Error, ModelError)):
        bad.run()
    found = bad.connection.execute("select schema_name from duckdb_schemas() where schema_name like 'staged%'")
    assert found.fetchall() == []


def test_days_of_the_note_are_those_replaced(small: SmallLake) -> None:
    Builder(small).run()
    note = TableLog(small.lake, SHOWN).recorded_build(1) or {}
    assert (note["first_day"], note["last_day"], note["days_replaced"], note["rows"]) == (
        str(date(2026, 7, 1)), str(date(2026, 7, 3)), 3, 3,
    )  # fmt: skip
