"""Freshness by event time: the comparison, the windows' file, newest events read from Delta."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.quality.freshness import Window, duration, freshness, load_windows, newest_events

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Window(warn="1h", late="2h")
SCHEMA = pa.schema([("event_ts", pa.timestamp("us", "UTC")), ("event_date", pa.date32()), ("rate_date", pa.date32())])


@pytest.mark.parametrize(
    ("newest", "state", "window", "age"),
    [
        (NOW, "fresh", HOUR, timedelta(0)),
        (NOW - HOUR, "fresh", HOUR, HOUR),
        (NOW - HOUR - timedelta(seconds=1), "warn", HOUR, HOUR + timedelta(seconds=1)),
        (NOW - 2 * HOUR, "warn", HOUR, 2 * HOUR),
        (NOW - 3 * HOUR, "late", 2 * HOUR, 3 * HOUR),
        (NOW + HOUR, "fresh", HOUR, timedelta(0)),
        (None, "missing", 2 * HOUR, None),
    ],
)
def test_age_is_compared_with_the_window(
    newest: datetime | None, state: str, window: timedelta, age: timedelta | None
) -> None:
    (told,) = freshness({"clicks": newest}, {"clicks": WINDOW}, NOW)
    assert (told.source, told.state, told.newest, told.window, told.age) == ("clicks", state, newest, window, age)


def test_a_source_without_a_table_is_missing_only_when_it_is_required() -> None:
    required = Window(warn="1h", late="2h", required=True)
    told = freshness({"other": NOW}, {"clicks": WINDOW, "impressions": required}, NOW)
    assert [(state.source, state.state) for state in told] == [("impressions", "missing")]


def test_our_windows_are_read_and_a_users_file_replaces_them_source_by_source(tmp_path: Path) -> None:
    ours = load_windows()
    assert ours["impressions"].late == 2 * HOUR
    own = tmp_path / "windows.yml"
    own.write_text("sources:\n  clicks: {warn: 1d, late: 2d}\n  orders: {warn: 90s, late: 5m, column: placed_at}\n")
    windows = load_windows(own)
    assert windows["impressions"] == ours["impressions"]
    assert windows["clicks"].warn == timedelta(days=1)
    assert windows["orders"].column == "placed_at"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  clicks: {warn: 1 hour, late: 2h}", "sources.clicks.warn: '1 hour'"),
        ("  clicks: {warn: 0m, late: 2h}", "90s, 30m, 2h or 3d"),
        ("  clicks: {warn: 3h, late: 2h}", "warn comes before late"),
        ("  clicks: {warn: 1h}", "'late' is missing"),
        ("  clicks: {warn: 1h, late: 2h, colum: x}", "colum"),
        ("  clicks: soon", "sources.clicks"),
        ("  clicks: {warn: 1h, late: 2h}\n  clicks: {warn: 1h, late: 2h}", "twice"),
    ],
)
def test_an_error_names_file_line_field_and_remedy(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "windows.yml"
    path.write_text(f"# comment\nsources:\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_windows(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{4 if said == 'twice' else 3}:")
    assert caught.value.remedy


def test_durations_have_a_unit() -> None:
    assert [duration(text) for text in ("90s", "30m", "2h", "3d")] == [
        timedelta(seconds=90), timedelta(minutes=30), timedelta(hours=2), timedelta(days=3),
    ]  # fmt: skip


def land(lake: Lake, *moments: datetime | None, rate: date | None = None, **properties: Any) -> None:
    table = lake.create(
        TableName("bronze", "clicks"), SCHEMA, partition_by=["event_date"], properties=properties or None
    )
    rows = [{"event_ts": each, "event_date": each and each.date(), "rate_date": rate} for each in moments]
    write_deltalake(table, pa.Table.from_pylist(rows, SCHEMA), mode="append")


def newest(lake: Lake, column: str = "event_ts") -> datetime | None:
    window = Window(warn="1h", late="2h", column=column)
    return newest_events(lake, {"clicks": window}, NOW)["clicks"]


def test_the_newest_event_is_found_without_reading_a_file(lake: Lake) -> None:
    land(lake, NOW - 5 * HOUR, None)
    land(lake, NOW - 30 * HOUR, NOW - 3 * HOUR)
    land(lake, NOW - 6 * HOUR)
    for path in Path(lake.root).rglob("*.parquet"):
        path.unlink()
    assert newest(lake) == NOW - 3 * HOUR


def test_files_without_statistics_are_queried(lake: Lake) -> None:
    land(lake, NOW - 30 * HOUR, NOW - 3 * HOUR, **{"delta.dataSkippingNumIndexedCols": "0"})
    log = Path(lake.root, "bronze/clicks/_delta_log/00000000000000000001.json").read_text()
    assert not any("event_ts" in json.loads(line).get("add", {}).get("stats", "") for line in log.splitlines())
    assert newest(lake) == NOW - 3 * HOUR


def test_an_event_of_the_future_does_not_hide_that_nothing_arrives(lake: Lake) -> None:
    land(lake, NOW - 30 * HOUR, NOW - 5 * HOUR, NOW + HOUR, NOW + 20 * HOUR)
    assert newest(lake) == NOW - 5 * HOUR


def test_rejected_rows_are_no_events(lake: Lake) -> None:
    land(lake, None, None)
    assert newest(lake) is None


def test_another_column_may_be_measured(lake: Lake) -> None:
    land(lake, NOW, rate=date(2026, 1, 8))
    land(lake, NOW - HOUR, rate=date(2026, 1, 9))
    assert newest(lake, "rate_date") == datetime(2026, 1, 9, tzinfo=UTC)


def test_a_table_that_does_not_exist_is_left_out(lake: Lake) -> None:
    assert newest_events(lake, {"clicks": WINDOW}, NOW) == {}
