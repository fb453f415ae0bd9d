"""Files of a folder into bronze tables: each row of each content once, whatever happens to names and processes.

Belongs here: landing of files that is not interrupted. Not here: kill -9 (tests/faults), what a record means.
"""

import gzip
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
from landing_topics import IMPRESSIONS, impression, notes, rows

from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.report import FileReport
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.retention import retain
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.schemas import BUILT_IN
from kafka_sinks.sources import Source, load_sources

BIDS, CLICKS, CONVERSIONS = (TableName("bronze", name) for name in ("bid_requests", "clicks", "conversions"))
HEADER = "event_ts,user_id,campaign_id,conversion_type,order_id\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop = tmp_path / "drop"
    drop.mkdir()
    return drop


def land(lake: Lake, folder: Path, settle_seconds: float = 0.0, **landing: int) -> dict[str, FileReport]:
    settings = Settings(landing=LandingSettings(**landing))
    return {
        report.path: report
        for report in land_files(lake, load_sources(), folder, settings, settle_seconds=settle_seconds)
    }


def lines(*numbers: int) -> bytes:
    return b"".join(impression(number) + b"\n" for number in numbers)


def event_time() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def mixed(count: int) -> str:
    """A click, a purchase and an unknown type in turn."""
    kinds = ("click", "purchase", "teleport")
    return HEADER + "".join(f"{event_time()},u{i},c1,{kinds[i % 3]},o{i}\n" for i in range(count))


def test_a_file_lands_once_under_whatever_name(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines(*range(10)))
    first = land(lake, folder)
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    (folder / "copy.jsonl").write_bytes((folder / "b.jsonl").read_bytes())
    again = land(lake, folder)
    assert (first["a.jsonl"].outcome, first["a.jsonl"].rows, first["a.jsonl"].accepted) == ("landed", 10, 10)
    assert {report.outcome for report in again.values()} == {"already landed"}
    assert rows(lake, "_file, _row, _topic") == [("a.jsonl", row, None) for row in range(10)]
    (note,) = [note for note in notes(lake) if note.get("delivered")]
    assert note["delivered"][0]["rows"] == 10


def test_another_content_under_the_same_name_is_another_file(lake: Lake, folder: Path) -> None:
    for number in range(3):
        (folder / "a.jsonl").write_bytes(lines(number))
        assert land(lake, folder)["a.jsonl"].rows == 1
    assert rows(lake, "count(*)") == [(3,)]


def test_a_large_file_takes_several_commits_and_keeps_row_numbers(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines(*range(95)) + b"{bad\n\n[1]"))
    report = land(lake, folder, max_batch_rows=10)["a.jsonl.gz"]
    assert (report.rows, report.rejected.total(), report.commits) == (98, 3, 10)
    assert rows(lake, "_row, user_id") == [*((row, f"u{row}") for row in range(95)), (95, None), (96, None), (97, None)]
    delivered = [place for note in notes(lake) for place in note.get("delivered", [])]
    assert sum(place["rows"] for place in delivered) == 98
    assert [place["done"] for place in delivered] == [False] * 9 + [True]
    assert land(lake, folder)["a.jsonl.gz"].outcome == "already landed"


def test_a_zstandard_file_lands_as_a_gzip_file_does(lake: Lake, folder: Path) -> None:
    packed = pa.compress(mixed(30).encode(), codec="zstd", asbytes=True)
    (folder / "events.csv.zst").write_bytes(packed[:-9])
    assert land(lake, folder)["events.csv.zst"].outcome == "broken"
    (folder / "events.csv.zst").write_bytes(packed)
    report = land(lake, folder, max_batch_rows=7)["events.csv.zst"]
    assert (report.outcome, report.rows, report.commits) == ("landed", 30, 10)
    landed = [row for name in (CLICKS, CONVERSIONS) for (row,) in rows(lake, "_row", name)]
    assert sorted(landed) == list(range(30))


def test_the_mixed_file_is_split_by_type_and_unknown_types_are_rejected_clicks(lake: Lake, folder: Path) -> None:
    (folder / "events.csv").write_text(mixed(30))
    report = land(lake, folder, max_batch_rows=7)["events.csv"]
    assert (report.outcome, report.rows, report.rejected) == ("landed", 30, Counter(unknown_type=10))
    kinds = rows(lake, "conversion_type, _reason, count(*)", CLICKS, "true group by all")
    assert kinds == [("click", None, 10), (None, "unknown_type", 10)]
    assert rows(lake, "conversion_type, count(*)", CONVERSIONS, "true group by all") == [("purchase", 10)]
    landed = [row for name in (CLICKS, CONVERSIONS) for (row,) in rows(lake, "_row", name)]
    assert sorted(landed) == list(range(30))
    assert land(lake, folder)["events.csv"].outcome == "already landed"


def test_a_source_added_later_takes_no_row_of_a_file_that_has_landed(lake: Lake, folder: Path, tmp_path: Path) -> None:
    (folder / "events.csv").write_text(mixed(30))
    assert land(lake, folder)["events.csv"].rejected == Counter(unknown_type=10)
    sources = with_shares(tmp_path)
    (report,) = land_files(lake, sources, folder, Settings())
    assert (report.outcome, report.rows) == ("already landed", 0)
    assert "before shares shared it" in report.error
    (folder / "new.csv").write_text(mixed(33))
    landed = {report.path: report for report in land_files(lake, sources, folder, Settings())}
    assert landed["new.csv"].rejected == Counter()
    assert rows(lake, "count(*)", TableName("bronze", "shares")) == [(11,)]


def test_a_source_added_after_the_log_was_cleaned_takes_no_row_of_an_old_file(
    lake: Lake, folder: Path, tmp_path: Path
) -> None:
    (folder / "events.csv").write_text(mixed(30))
    assert land(lake, folder)["events.csv"].rejected == Counter(unknown_type=10)
    sources = with_shares(tmp_path)
    for name in (CLICKS, CONVERSIONS):
        table = lake.open(name)
        table.create_checkpoint()
        for version in range(table.version()):
            (Path(lake.uri(name)) / "_delta_log" / f"{version:020d}.json").unlink()
        table.alter.set_table_properties({"a": "b"}, raise_if_not_exists=False)
        (Path(lake.uri(name)) / "_delta_log" / f"{table.version() - 1:020d}.json").unlink()
    (report,) = land_files(lake, sources, folder, Settings())
    assert (report.outcome, report.rows) == ("already landed", 0)
    assert rows(lake, "count(*)", TableName("bronze", "shares")) == []


def with_shares(folder: Path) -> Mapping[str, Source]:
    """The sources, and a further one that shares the mixed CSV."""
    (folder / "sources").mkdir()
    (folder / "sources" / "shares.yml").write_text(
        "name: shares\nwire: csv\nfiles: ['*.csv', '*.csv.gz']\nschema: shares.avsc\n"
        "split: {by: conversion_type, values: [teleport]}\n"
    )
    shutil.copy(BUILT_IN / "conversions.avsc", folder / "sources" / "shares.avsc")
    return load_sources(folder / "sources")


def test_records_of_a_csv_file_may_span_lines_and_a_stray_quote_costs_one_record(lake: Lake, folder: Path) -> None:
    text = HEADER + f'{event_time()},"u\n1",c1,click,\n{event_time()},"u2,c1,click,\r\n{event_time()},u3,c1,click,\n'
    (folder / "events.csv").write_bytes(text.encode())
    report = land(lake, folder)["events.csv"]
    assert (report.rows, report.accepted) == (3, 2)
    assert rows(lake, "_row, user_id", CLICKS) == [(0, "u\n1"), (1, None), (2, "u3")]


def test_avro_containers_land_row_by_row(lake: Lake, folder: Path) -> None:
    schema = dict(load_sources()["bid_requests"].schema)
    moment = int(time.time() * 1_000_000)
    bids = [{"event_ts": moment, "user_id": f"u{i}", "auction_id": f"a{i}", "targeting": ["geo=de"]} for i in range(25)]
    bids[7]["event_ts"] = 0  # 1970
    with (folder / "bids.avro").open("wb") as stream:
        fastavro.writer(stream, schema, bids, codec="deflate")
    report = land(lake, folder, max_batch_rows=10)["bids.avro"]
    assert (report.rows, report.rejected, report.commits) == (25, Counter(event_time_out_of_range=1), 3)
    landed = rows(lake, "_row, auction_id", BIDS)
    assert landed == [(row, None if row == 7 else f"a{row}") for row in range(25)]
    assert land(lake, folder)["bids.avro"].outcome == "already landed"


def test_dimensions_land_from_their_folder(lake: Lake, folder: Path) -> None:
    (folder / "dimensions").mkdir()
    (folder / "dimensions" / "campaigns.csv").write_text("campaign_id,advertiser_id,name\nc1,a1,First\nc2,a1,Second\n")
    report = land(lake, folder)["dimensions/campaigns.csv"]
    assert (report.outcome, report.accepted) == ("landed", 2)
    columns = "campaign_id, _file, event_date is not null"
    assert rows(lake, columns, TableName("bronze", "campaigns")) == [
        ("c1", "dimensions/campaigns.csv", True),
        ("c2", "dimensions/campaigns.csv", True),
    ]


def test_files_that_are_not_ours_yet_are_left_alone(lake: Lake, folder: Path) -> None:
    for name in (".hidden.jsonl", "_partial.jsonl", "a.jsonl.tmp", "b.jsonl.part", "notes.txt"):
        (folder / name).write_bytes(lines(1))
    (folder / "young.jsonl").write_bytes(lines(2))
    (folder / "old.jsonl").write_bytes(lines(3))
    os.utime(folder / "old.jsonl", (time.time() - 100, time.time() - 100))
    reports = land(lake, folder, settle_seconds=60)
    outcomes = {name: report.outcome for name, report in reports.items()}
    assert outcomes == {"notes.txt": "no source", "young.jsonl": "still being written", "old.jsonl": "landed"}


def test_a_broken_file_changes_nothing_and_does_not_stop_the_others(lake: Lake, folder: Path) -> None:
    whole = gzip.compress(lines(*range(1_000)) * 200)  # more than is read at once
    (folder / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "b.jsonl").write_bytes(lines(1))
    (folder / "c.avro").write_bytes(b"Obj\x01nonsense")
    reports = land(lake, folder, max_batch_rows=20_000)
    assert {name: report.outcome for name, report in reports.items()} == {
        "a.jsonl.gz": "broken",
        "b.jsonl": "landed",
        "c.avro": "broken",
    }
    assert "a.jsonl.gz" in reports["a.jsonl.gz"].error
    assert rows(lake, "_file") == [("b.jsonl",)]
    (folder / "a.jsonl.gz").write_bytes(whole)
    assert land(lake, folder)["a.jsonl.gz"].rows == 200_000


def test_an_empty_file_is_landed_with_no_rows(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(b"")
    (folder / "header.csv").write_text(HEADER)
    first, second = land(lake, folder), land(lake, folder)
    assert {(report.outcome, report.rows) for report in first.values()} == {("landed", 0)}
    assert {report.outcome for report in second.values()} == {"already landed"}


def test_the_time_of_a_file_judges_its_event_times(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(impression(1, event_ts="2020-06-01T00:00:00Z") + b"\n")
    moment = time.mktime((2020, 6, 2, 0, 0, 0, 0, 0, 0))
    os.utime(folder / "a.jsonl", (moment, moment))
    assert land(lake, folder)["a.jsonl"].accepted == 1
    (folder / "b.jsonl").write_bytes(impression(2, event_ts="2020-06-01T00:00:00Z") + b"\n")
    assert land(lake, folder)["b.jsonl"].rejected == Counter(event_time_out_of_range=1)


def test_days_that_retention_deleted_are_not_filled_again(lake: Lake, folder: Path) -> None:
    now = datetime.now(UTC)
    old = (now - timedelta(days=30)).isoformat()
    (folder / "a.jsonl").write_bytes(impression(1, event_ts=old) + b"\n")
    land(lake, folder)
    retain(lake, IMPRESSIONS, (now - timedelta(days=10)).date())
    (folder / "b.jsonl").write_bytes(impression(2, event_ts=old) + b"\n" + impression(3) + b"\n")
    assert land(lake, folder)["b.jsonl"].rejected == Counter(after_retention=1)
    (rejected,) = rows(lake, "_raw, user_id, event_ts, _file, _row", where="_reason = 'after_retention'")
    assert rejected == (impression(2, event_ts=old), None, None, "b.jsonl", 0)
