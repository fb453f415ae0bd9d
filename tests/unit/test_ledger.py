"""The ledger of landing and silver, on real Delta tables that someone tampers with."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.retention import retain
from ad_lakehouse.quality import ledger
from ad_lakehouse.quality.ledger import LEDGER, LedgerReport, ledger_outcomes, read_ledger, write_ledger
from ad_lakehouse.quality.ledger_rows import Found, LedgerRow, weigh

CLICKS = TableName("bronze", "clicks")
SILVER = TableName("silver", "clicks")
CREDITS = TableName("attribution", "credits")
DAY = date(2026, 1, 1)
NEXT = date(2026, 1, 2)
NOW = datetime(2026, 1, 3, tzinfo=UTC)
BRONZE = pa.schema([
    ("event_id", pa.string()), ("event_date", pa.date32()), ("_topic", pa.string()), ("_partition", pa.int32()),
    ("_offset", pa.int64()), ("_file", pa.string()), ("_row", pa.int64()), ("_batch", pa.string()),
    ("_reason", pa.string()), ("_landed_at", pa.timestamp("us", "UTC")),
])  # fmt: skip


def topic_rows(
    batch: str, partition: int, start: int, end: int, rejected: int = 0, day: date = DAY
) -> list[dict[str, Any]]:
    """Rows of offsets [start, end), the first `rejected` of them rejected."""
    return [
        {
            "event_id": None if number < rejected else f"{partition}:{offset}",
            "event_date": None if number < rejected else day,
            "_topic": "ad.clicks", "_partition": partition, "_offset": offset, "_batch": batch,
            "_reason": "invalid_csv" if number < rejected else None,
        }
        for number, offset in enumerate(range(start, end))
    ]  # fmt: skip


def file_rows(batch: str, file: str, start: int, end: int) -> list[dict[str, Any]]:
    return [
        {"event_id": f"{file}:{row}", "event_date": DAY, "_file": file, "_row": row, "_batch": batch}
        for row in range(start, end)
    ]


def file_note(file: str, start: int, end: int, rows: int | None = None, *, done: bool = False) -> dict[str, Any]:
    """`rows` of the records [start, end) went into this table."""
    return {
        "file": file, "sha256": f"sha of {file}", "start": start, "end": end,
        "rows": end - start if rows is None else rows, "done": done,
    }  # fmt: skip


def topic_note(partition: int, start: int, end: int, records: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "topic": "ad.clicks", "topic_id": "T", "partition": partition, "start": start, "end": end,
        "records": end - start if records is None else records, **more,
    }  # fmt: skip


def land(lake: Lake, batch: str, rows: list[dict[str, Any]], *delivered: dict[str, Any], **note: Any) -> None:
    """One landing: rows and the note of what was delivered, in one commit."""
    table = lake.create(CLICKS, BRONZE, partition_by=["event_date"])
    text = json.dumps({"batch": batch, "delivered": list(delivered), **note})
    write_deltalake(
        table, pa.Table.from_pylist(rows, BRONZE), mode="append",
        commit_properties=CommitProperties(custom_metadata={"ad_lakehouse": text}),
    )  # fmt: skip


def land_two_batches(lake: Lake) -> None:
    """Partitions 0 and 1 in batch b1, partition 0 on and a file in batch b2; 60 rows."""
    rows = topic_rows("b1", 0, 0, 20, rejected=3) + topic_rows("b1", 1, 100, 110)
    land(lake, "b1", rows, topic_note(0, 0, 20), topic_note(1, 100, 110))
    rows = topic_rows("b2", 0, 20, 35, day=NEXT) + file_rows("b2", "clicks.csv", 0, 15)
    land(lake, "b2", rows, topic_note(0, 20, 35), file_note("clicks.csv", 0, 15))


def off(report: LedgerReport) -> set[tuple[str, str]]:
    return {(row.table, row.subject) for row in report.unbalanced}


def row_of(report: LedgerReport, subject: str, table: str = "bronze.clicks") -> LedgerRow:
    return next(row for row in report.rows if (row.table, row.subject) == (table, subject))


def tamper(lake: Lake, where: str, change: dict[str, str] | None = None, name: TableName = CLICKS) -> None:
    """A foreign hand: rows deleted, or updated."""
    table = lake.open(name)
    if change:
        table.update(predicate=where, updates=change)
    else:
        table.delete(where)


@pytest.fixture(params=["after the ledger was written", "before the ledger was written"])
def landed(request: pytest.FixtureRequest, lake: Lake) -> Lake:
    land_two_batches(lake)
    if request.param.startswith("after"):
        assert not write_ledger(lake).unbalanced
    return lake


def test_what_was_delivered_is_accepted_or_rejected(lake: Lake) -> None:
    land_two_batches(lake)
    report = write_ledger(lake, now=NOW)
    assert report.written
    assert not report.unbalanced
    told = {row.subject: (row.delivered, row.accepted, row.rejected, row.difference) for row in report.rows}
    assert told == {"ad.clicks[0]": (35, 32, 3, 0), "ad.clicks[1]": (10, 10, 0, 0), "clicks.csv": (15, 15, 0, 0)}
    assert tuple(read_ledger(lake)) == report.rows
    assert [outcome.passed for outcome in ledger_outcomes(report.rows)] == [True] * 6


def test_an_empty_lake_has_an_empty_ledger(lake: Lake) -> None:
    report = write_ledger(lake)
    assert report.rows == ()
    assert not report.written


def test_the_table_is_replaced_only_when_something_changed(lake: Lake) -> None:
    land_two_batches(lake)
    first = write_ledger(lake)
    again = write_ledger(lake)
    assert (again.written, again.version) == (False, first.version)
    assert again.rows == first.rows
    land(lake, "b3", topic_rows("b3", 1, 110, 111), topic_note(1, 110, 111))
    assert write_ledger(lake).written


def test_a_lost_row_is_seen(landed: Lake) -> None:
    tamper(landed, "_topic = 'ad.clicks' and _partition = 0 and _offset = 7")
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "ad.clicks[0]")}
    assert row_of(report, "ad.clicks[0]").difference == -1
    assert row_of(report, "ad.clicks[0]").detail["batches_off"] == [{"batch": "b1", "delivered": 20, "found": 19}]


def test_a_lost_rejected_row_is_seen(landed: Lake) -> None:
    tamper(landed, "_reason = 'invalid_csv' and _offset = 1")
    assert off(write_ledger(landed)) == {("bronze.clicks", "ad.clicks[0]")}


def test_a_row_of_a_file_that_is_lost_is_seen(landed: Lake) -> None:
    tamper(landed, "_file = 'clicks.csv' and _row = 14")
    assert off(write_ledger(landed)) == {("bronze.clicks", "clicks.csv")}


def test_a_duplicated_row_is_seen(landed: Lake) -> None:
    write_deltalake(landed.open(CLICKS), pa.Table.from_pylist(topic_rows("b1", 1, 105, 106), BRONZE), mode="append")
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "ad.clicks[1]")}
    assert row_of(report, "ad.clicks[1]").difference == 1
    assert row_of(report, "ad.clicks[1]").repeated == 1


def test_one_row_lost_and_one_duplicated_do_not_cancel_out(landed: Lake) -> None:
    tamper(landed, "_partition = 1 and _offset = 101", {"_offset": "102"})
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "ad.clicks[1]")}
    assert row_of(report, "ad.clicks[1]").difference == 0
    assert "1 twice" in str(row_of(report, "ad.clicks[1]"))


def test_a_row_moved_to_another_batch_is_seen(landed: Lake) -> None:
    tamper(landed, "_partition = 0 and _offset = 10", {"_batch": "'b2'"})
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "ad.clicks[0]")}
    assert {each["batch"] for each in row_of(report, "ad.clicks[0]").detail["batches_off"]} == {"b1", "b2"}


def test_a_row_moved_to_another_partition_is_seen_in_both(landed: Lake) -> None:
    tamper(landed, "_partition = 0 and _offset = 10", {"_partition": "1"})
    assert off(write_ledger(landed)) == {("bronze.clicks", "ad.clicks[0]"), ("bronze.clicks", "ad.clicks[1]")}


def test_a_row_without_an_origin_is_seen(landed: Lake) -> None:
    stray = [{"event_id": "x", "event_date": DAY, "_batch": "b1"}]
    write_deltalake(landed.open(CLICKS), pa.Table.from_pylist(stray, BRONZE), mode="append")
    report = write_ledger(landed)
    assert [row.kind for row in report.unbalanced] == ["unknown_origin"]


def test_a_landing_that_wrote_fewer_rows_than_it_took_is_seen(landed: Lake) -> None:
    land(landed, "b3", topic_rows("b3", 1, 110, 114), topic_note(1, 110, 115))
    assert off(write_ledger(landed)) == {("bronze.clicks", "ad.clicks[1]")}


def test_what_is_put_right_balances_again(landed: Lake) -> None:
    tamper(landed, "_partition = 1 and _offset = 105")
    assert write_ledger(landed).unbalanced
    write_deltalake(landed.open(CLICKS), pa.Table.from_pylist(topic_rows("b1", 1, 105, 106), BRONZE), mode="append")
    assert not write_ledger(landed).unbalanced


def test_rows_lost_by_a_compaction_are_seen(landed: Lake) -> None:
    """Compaction says that it changes no data; the number of rows in the table tells otherwise."""
    landed.open(CLICKS).optimize.compact()
    assert not write_ledger(landed).unbalanced
    tamper(landed, "_partition = 0 and _offset = 7")
    newest = max(Path(landed.uri(CLICKS), "_delta_log").glob("*.json"))
    newest.write_text(newest.read_text().replace('"dataChange":true', '"dataChange":false'))
    assert off(write_ledger(landed)) == {("bronze.clicks", "ad.clicks[0]")}


def test_a_replay_moves_rows_from_rejected_to_accepted(landed: Lake) -> None:
    landed.open(CLICKS).update(
        predicate="_reason = 'invalid_csv' and _offset < 2",
        updates={"_reason": "null", "event_date": "date '2026-01-01'"},
        commit_properties=CommitProperties(custom_metadata={"ad_lakehouse": json.dumps({"kind": "replay", "rows": 2})}),
    )
    report = write_ledger(landed)
    assert not report.unbalanced
    row = row_of(report, "ad.clicks[0]")
    assert (row.accepted, row.rejected, row.difference) == (34, 1, 0)


def test_offsets_in_no_batch_are_a_gap_and_an_accepted_loss_is_none(landed: Lake) -> None:
    land(landed, "b3", [], topic_note(1, 110, 150, records=0, lost=True), kind="accepted_loss")
    land(landed, "b4", topic_rows("b4", 1, 150, 155), topic_note(1, 150, 155))
    report = write_ledger(landed)
    assert not report.unbalanced
    assert row_of(report, "ad.clicks[1]").lost == 40
    land(landed, "b5", topic_rows("b5", 0, 40, 45), topic_note(0, 40, 45))
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "ad.clicks[0]")}
    assert row_of(report, "ad.clicks[0]").gap == 5
    assert "5 offsets never delivered" in str(row_of(report, "ad.clicks[0]"))


def test_offsets_without_a_record_are_no_loss(landed: Lake) -> None:
    """Transaction markers and compacted offsets: 5 offsets, 3 records."""
    land(landed, "b3", topic_rows("b3", 1, 111, 114), topic_note(1, 110, 115, records=3))
    assert not write_ledger(landed).unbalanced


def test_a_recreated_topic_begins_anew(landed: Lake) -> None:
    land(landed, "b3", topic_rows("b3", 0, 0, 5), topic_note(0, 0, 5, topic_id="another"))
    report = write_ledger(landed)
    assert not report.unbalanced
    assert row_of(report, "ad.clicks[0]").delivered == 40


def test_a_file_may_take_several_commits(landed: Lake) -> None:
    land(landed, "b3", file_rows("b3", "clicks.csv", 15, 30), file_note("clicks.csv", 15, 30))
    report = write_ledger(landed)
    assert not report.unbalanced
    assert row_of(report, "clicks.csv").delivered == 30


def test_a_part_of_a_file_that_no_commit_took_is_a_gap(landed: Lake) -> None:
    land(landed, "b3", file_rows("b3", "clicks.csv", 20, 30), file_note("clicks.csv", 20, 30))
    report = write_ledger(landed)
    assert off(report) == {("bronze.clicks", "clicks.csv")}
    assert row_of(report, "clicks.csv").gap == 5


def test_a_record_of_a_mixed_file_that_went_into_no_table_is_seen(lake: Lake) -> None:
    """8 records: 5 clicks, 2 conversions."""
    land(lake, "b1", file_rows("b1", "mixed.csv", 0, 5), file_note("mixed.csv", 0, 8, rows=5, done=True))
    assert not write_ledger(lake).unbalanced
    conversions = TableName("bronze", "conversions")
    note = {"batch": "b2", "delivered": [file_note("mixed.csv", 0, 8, rows=2, done=True)]}
    write_deltalake(
        lake.create(conversions, BRONZE, partition_by=["event_date"]),
        pa.Table.from_pylist(file_rows("b2", "mixed.csv", 5, 7), BRONZE), mode="append",
        commit_properties=CommitProperties(custom_metadata={"ad_lakehouse": json.dumps(note)}),
    )  # fmt: skip
    report = write_ledger(lake)
    assert off(report) == {("bronze", "mixed.csv")}
    assert row_of(report, "mixed.csv", "bronze").difference == -1
    assert write_ledger(lake).unbalanced
    assert not write_ledger(lake).written


def clean_log(lake: Lake, before: int) -> None:
    """Log clean-up: a checkpoint, and the commits before a version gone."""
    table = lake.open(CLICKS)
    table.create_checkpoint()
    store = lake.store("bronze", "clicks", "_delta_log")
    for version in range(before):
        store.delete(f"{version:020d}.json")


def test_the_log_may_be_cleaned_behind_the_ledger(lake: Lake) -> None:
    land_two_batches(lake)
    before = write_ledger(lake)
    clean_log(lake, lake.open(CLICKS).version())
    land(lake, "b3", topic_rows("b3", 0, 35, 40), topic_note(0, 35, 40))
    report = write_ledger(lake)
    assert not report.unbalanced
    assert row_of(report, "ad.clicks[0]").delivered == row_of(before, "ad.clicks[0]").delivered + 5
    assert row_of(report, "ad.clicks[0]").unverified == 0
    tamper(lake, "_partition = 1 and _offset = 105")
    report = write_ledger(lake)
    assert off(report) == {("bronze.clicks", "ad.clicks[1]")}
    assert row_of(report, "ad.clicks[1]").difference == -1


def test_what_a_cleaned_log_no_longer_tells_is_marked_unverified(lake: Lake) -> None:
    land_two_batches(lake)
    clean_log(lake, lake.open(CLICKS).version())
    report = write_ledger(lake)
    assert not report.unbalanced
    row = row_of(report, "ad.clicks[0]")
    assert (row.delivered, row.unverified, row.difference) == (35, 20, 0)
    tamper(lake, "_partition = 0 and _offset in (7, 25)")
    row = row_of(write_ledger(lake), "ad.clicks[0]")
    assert (row.balanced, row.difference) == (False, -2)


def test_a_row_without_an_origin_is_seen_though_the_log_is_gone(lake: Lake) -> None:
    land_two_batches(lake)
    write_deltalake(
        lake.open(CLICKS),
        pa.Table.from_pylist([{"event_date": DAY, "_batch": "b1", "_offset": 5}], BRONZE),
        mode="append",
    )
    clean_log(lake, lake.open(CLICKS).version())
    assert [row.kind for row in write_ledger(lake).unbalanced] == ["unknown_origin"]


@pytest.mark.parametrize("vacuumed", [False, True])
def test_rows_that_retention_deleted_are_not_missed(landed: Lake, vacuumed: bool) -> None:
    retain(landed, CLICKS, NEXT)
    if vacuumed:
        landed.open(CLICKS).vacuum(0, dry_run=False, enforce_retention_duration=False)
    report = write_ledger(landed)
    assert not report.unbalanced
    row = row_of(report, "ad.clicks[0]")
    assert (row.retired, row.accepted, row.rejected) == (17, 15, 3)
    tamper(landed, "_partition = 0 and _offset = 25")
    assert off(write_ledger(landed)) == {("bronze.clicks", "ad.clicks[0]")}


def test_a_recreated_table_begins_a_new_ledger(lake: Lake, tmp_path: Any) -> None:
    land_two_batches(lake)
    write_ledger(lake)
    (tmp_path / "lake/bronze/clicks").rename(tmp_path / "old")
    land(lake, "c1", topic_rows("c1", 3, 0, 5), topic_note(3, 0, 5))
    report = write_ledger(lake)
    assert [row.subject for row in report.rows] == ["ad.clicks[3]"]
    assert not report.unbalanced


def test_outcomes_say_how_many_are_off_by_how_much_and_where(lake: Lake) -> None:
    land_two_batches(lake)
    tamper(lake, "_partition = 0 and _offset in (7, 8, 9)")
    tamper(lake, "_file = 'clicks.csv' and _row = 3")
    outcomes = {outcome.name: outcome for outcome in ledger_outcomes(write_ledger(lake).rows)}
    partitions = outcomes["ledger__topic_partition"]
    assert (partitions.passed, partitions.blocking, partitions.value) == (False, True, 1)
    assert partitions.detail["rows_off"] == 3
    assert partitions.detail["off"] == ["bronze.clicks ad.clicks[0]: 3 missing, in batch b1"]
    assert not outcomes["ledger__file"].passed
    assert outcomes["ledger__silver_day"].passed


def build(lake: Lake, name: TableName, rows: pa.Table, inputs: dict[str, TableName], days: list[date]) -> None:
    """What dbt does: replaces days and records the input versions."""
    table = lake.create(name, rows.schema, partition_by=["event_date"])
    read = {label: lake.open(each) for label, each in inputs.items()}
    note = {
        "kind": "build", "code": "c",
        "inputs": {label: {"id": str(each.metadata().id), "version": each.version()} for label, each in read.items()},
    }  # fmt: skip
    predicate = " or ".join(f"event_date = '{day}'" for day in days)
    write_deltalake(
        table, rows, mode="overwrite", predicate=predicate,
        commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(note)}),
    )  # fmt: skip


def silver(day: date, kept: int, duplicates: int) -> pa.Table:
    return pa.table({
        "event_date": pa.array([day] * kept, pa.date32()),
        "event_id": pa.array([f"{day}:{number}" for number in range(kept)]),
        "natural_duplicates": pa.array([duplicates] + [0] * (kept - 1), pa.int32()),
    })  # fmt: skip


def build_silver(lake: Lake) -> None:
    """Day 1 has 42 accepted rows (17 + 10 + 15), day 2 has 15."""
    rows = pa.concat_tables([silver(DAY, 40, 2), silver(NEXT, 15, 0)])
    build(lake, SILVER, rows, {"bronze.clicks": CLICKS}, [DAY, NEXT])


def test_silver_keeps_or_counts_every_accepted_row(landed: Lake) -> None:
    build_silver(landed)
    report = write_ledger(landed)
    assert not report.unbalanced
    row = row_of(report, "2026-01-01", "silver.clicks")
    assert (row.delivered, row.accepted, row.collapsed, row.difference) == (42, 40, 2, 0)


@pytest.mark.parametrize("ledger_first", [False, True])
def test_a_silver_row_that_is_lost_is_seen(landed: Lake, ledger_first: bool) -> None:
    build_silver(landed)
    if ledger_first:
        write_ledger(landed)
    tamper(landed, "event_id = '2026-01-02:3'", name=SILVER)
    report = write_ledger(landed)
    assert off(report) == {("silver.clicks", "2026-01-02")}
    assert row_of(report, "2026-01-02", "silver.clicks").difference == -1


def test_events_that_landed_after_the_build_are_not_missed_by_it(landed: Lake) -> None:
    build_silver(landed)
    land(landed, "b3", topic_rows("b3", 1, 110, 115), topic_note(1, 110, 115))
    assert not write_ledger(landed).unbalanced
    build(landed, SILVER, silver(DAY, 47, 0), {"bronze.clicks": CLICKS}, [DAY])
    report = write_ledger(landed)
    assert not report.unbalanced
    assert row_of(report, "2026-01-01", "silver.clicks").delivered == 47
    assert row_of(report, "2026-01-02", "silver.clicks").delivered == 15


def test_a_build_that_left_out_a_new_event_is_seen(landed: Lake) -> None:
    build_silver(landed)
    write_ledger(landed)
    land(landed, "b3", topic_rows("b3", 1, 110, 111, day=NEXT), topic_note(1, 110, 111))
    build(landed, SILVER, silver(DAY, 42, 0), {"bronze.clicks": CLICKS}, [DAY])
    assert off(write_ledger(landed)) == {("silver.clicks", "2026-01-02")}


def test_frozen_days_keep_what_the_ledger_said_of_them(landed: Lake) -> None:
    build_silver(landed)
    before = write_ledger(landed)
    retain(landed, CLICKS, NEXT)
    build(landed, SILVER, silver(NEXT, 15, 0), {"bronze.clicks": CLICKS}, [NEXT])
    report = write_ledger(landed)
    assert not report.unbalanced
    old, new = (row_of(each, "2026-01-01", "silver.clicks") for each in (before, report))
    assert (old.delivered, old.accepted, old.collapsed) == (new.delivered, new.accepted, new.collapsed)


@pytest.mark.parametrize("recount", [False, True])
def test_days_whose_input_is_gone_are_not_compared(landed: Lake, recount: bool) -> None:
    build_silver(landed)
    if recount:
        write_ledger(landed)
    retain(landed, CLICKS, NEXT)
    build(landed, SILVER, silver(NEXT, 15, 0), {"bronze.clicks": CLICKS}, [NEXT])
    report = write_ledger(landed, recount=recount)
    assert not report.unbalanced
    days = [row.subject for row in report.rows if row.kind == "silver_day"]
    assert days == (["2026-01-01", "2026-01-02"] if recount else ["2026-01-02"])


def test_the_ledger_of_a_lake_without_change_reads_no_rows(lake: Lake) -> None:
    land_two_batches(lake)
    write_ledger(lake)
    for path in DeltaTable(lake.uri(CLICKS)).file_uris():
        Path(path).unlink()
    assert not write_ledger(lake).unbalanced
    assert lake.open(LEDGER).version() == 1


@pytest.mark.parametrize(
    ("delivered", "found", "more", "balanced"),
    [
        ({"a": 3}, {"a": Found(2, 1, 3)}, {}, True),
        ({"a": 3}, {"a": Found(3, 0, 2)}, {}, False),
        ({"a": 3, "b": 2}, {"a": Found(2, 0, 2), "b": Found(3, 0, 3)}, {}, False),
        ({"a": 3}, {"a": Found(3, 0, 3), "x": Found(1, 0, 1)}, {}, False),
        ({"a": 3}, {"a": Found(3, 0, 3), "x": Found(7, 0, 7)}, {"earlier": 7}, True),
        ({"a": 3}, {"a": Found(1, 0, 1)}, {"retired": 2}, True),
        ({"a": 3}, {"a": Found(1, 0, 1)}, {"retired": 1}, False),
        ({"a": 3, "b": 1}, {"a": Found(1, 0, 1), "b": Found(2, 0, 2)}, {"retired": 2}, False),
        ({}, {}, {}, True),
    ],
)
def test_batches_are_compared_one_by_one(
    delivered: dict[str, int], found: dict[str, Found], more: dict[str, int], balanced: bool
) -> None:
    assert weigh(delivered, found, **more).balanced is balanced


def test_a_ledger_that_another_one_wrote_meanwhile_is_gone_on_from(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    land_two_batches(lake)
    write, calls = ledger.write_deltalake, []

    def overtaken(*how: Any, **more: Any) -> None:
        calls.append(None)
        if len(calls) == 1:
            assert write_ledger(lake).written
        write(*how, **more)

    monkeypatch.setattr(ledger, "write_deltalake", overtaken)
    report = write_ledger(lake)
    assert len(calls) == 2, "the other one's write, and ours that was refused"
    assert not report.written
    assert sum(row.delivered for row in read_ledger(lake)) == 60
