"""What one build does to one table: which days it rebuilds and replaces, and what it writes of itself."""

from datetime import date
from pathlib import Path

import duckdb
import pytest
from one_table import COLUMNS, SAME_DAY, SHOWN, Builder, published, show, version
from small_lake import CONTRACTS, SmallLake, at, day

from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model, Request
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.staging import DuckDBStaging
from ad_lakehouse.dbt_delta.store import Build
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import connect


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
    staging = DuckDBStaging(model, connect().cursor())
    assert Build(model, pins, staging, Request(contracts=CONTRACTS)).run().days_replaced == 1


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
