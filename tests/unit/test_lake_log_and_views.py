"""What a Delta log says of changed days and builds, and what the views of a table show."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import Snapshot, connect, define_views

NAME = TableName("bronze", "clicks")
ONE, TWO = date(2026, 1, 1), date(2026, 1, 2)
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_date", pa.date32()),
        *[(name, pa.string()) for name in ("_reason", "_error", "_topic", "_file", "_batch")],
        ("_raw", pa.binary()),
        ("_partition", pa.int32()),
        ("_offset", pa.int64()),
        ("_row", pa.int64()),
        ("_landed_at", pa.timestamp("us", "UTC")),
    ]
)


def rows(*values: tuple[str | None, date | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"event_id": name, "event_date": day, "_reason": None if day else "invalid_json"} for name, day in values],
        SCHEMA,
    )


def made(lake: Lake) -> DeltaTable:
    return lake.create(NAME, SCHEMA, partition_by=["event_date"])


def append(lake: Lake, table: pa.Table, **note: Any) -> None:
    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps(note)}) if note else None
    write_deltalake(lake.open(NAME), table, mode="append", commit_properties=properties)


def test_changed_days_are_those_of_the_commits_between(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE)))
    append(lake, rows(("b", TWO), (None, None)))
    log = TableLog(lake, NAME)
    assert log.changed_days("event_date", 0, 2) == {ONE, TWO, None}
    assert log.changed_days("event_date", 1, 2) == {TWO, None}
    assert log.changed_days("event_date", 2, 2) == set()


def test_compaction_and_retention_change_no_day(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE)))
    append(lake, rows(("b", ONE)))
    lake.open(NAME).optimize.compact()
    retention = CommitProperties(custom_metadata={"userMetadata": json.dumps({"kind": "retention"})})
    lake.open(NAME).delete("event_date < '2026-01-02'", commit_properties=retention)
    assert lake.open(NAME).version() == 4
    assert TableLog(lake, NAME).changed_days("event_date", 2, 4) == set()


def test_changed_days_are_unknown_when_the_log_was_cleaned(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE)))
    (tmp_path / "bronze" / "clicks" / "_delta_log" / f"{1:020d}.json").unlink()
    assert TableLog(lake, NAME).changed_days("event_date", 0, 1) is None


def test_build_record_is_found_behind_many_maintenance_commits(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE)), kind="build", code="abc")
    for _ in range(30):
        append(lake, rows())
    assert TableLog(lake, NAME).recorded_build(31) == {"kind": "build", "code": "abc"}
    assert TableLog(lake, NAME).recorded_build(0) is None


def test_view_leaves_out_rejected_rows_and_quarantine_shows_them(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE), (None, None)))
    connection = connect()
    define_views(connection, lake)
    assert connection.execute("select event_id, event_date from bronze.clicks").fetchall() == [("a", ONE)]
    assert connection.execute("select source, _reason from quarantine").fetchall() == [("clicks", "invalid_json")]


def test_view_of_a_table_without_files_has_the_typed_columns_and_no_rows(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    connection = connect()
    define_views(connection, lake)
    described = {row[0]: row[1] for row in connection.execute("describe bronze.clicks").fetchall()}
    assert described["_landed_at"] == "TIMESTAMP WITH TIME ZONE"
    assert described["event_date"] == "DATE"
    assert connection.execute("select count(*) from bronze.clicks").fetchone() == (0,)


def test_column_that_no_file_has_yet_is_a_typed_null(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    table = made(lake)
    append(lake, rows(("a", ONE)))
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    table.update_incremental()
    table.alter.add_columns([Field("price_micros", PrimitiveType("long"))])
    connection = connect()
    define_views(connection, lake)
    query = "select typeof(price_micros), price_micros from bronze.clicks"
    assert connection.execute(query).fetchall() == [("BIGINT", None)]


def test_snapshot_stays_at_its_version_while_rows_are_added(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made(lake)
    append(lake, rows(("a", ONE)))
    pinned = Snapshot.of(NAME, lake.open(NAME))
    append(lake, rows(("b", ONE)))
    connection = connect()
    assert connection.execute(f"select count(*) from ({pinned.query(connection, pinned.accepted())})").fetchone() == (
        1,
    )


def test_lake_path_may_have_spaces_quotes_and_umlauts(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "la ke's ü"))
    made(lake)
    append(lake, rows(("a", ONE)))
    connection = connect()
    define_views(connection, lake)
    assert connection.execute("select event_id from bronze.clicks").fetchall() == [("a",)]
    assert TableLog(lake, NAME).changed_days("event_date", 0, 1) == {ONE}
