"""Data files written apart from their commit: every row in the file of its day, and what the log says of it."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from obstore.store import LocalStore

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY, by_day, write_files
from ad_lakehouse.lake.views import connect

NAME = TableName("bronze", "events")
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("number", pa.int64()),
        ("moment", pa.timestamp("us", "UTC")),
        ("names", pa.list_(pa.string())),
        (DAY, pa.date32()),
    ]
)


def rows(days: list[date | None]) -> pa.Table:
    moments = [datetime(2026, 3, 1, 0, 0, 0, number, tzinfo=UTC) for number in range(len(days))]
    ids = [f"i{number}" for number in range(len(days))]
    return pa.table([ids, list(range(len(days))), moments, [[each] for each in ids], days], schema=SCHEMA)


@pytest.mark.parametrize(
    "days",
    [[], [FIRST] * 3, [None] * 2, [SECOND, FIRST, None, SECOND, FIRST], [FIRST, SECOND] * 20_000],
    ids=["none", "one day", "no day", "mixed", "many rows"],
)
def test_each_row_is_in_the_part_of_its_day_in_its_order(days: list[date | None]) -> None:
    parts = list(by_day(rows(days)))
    assert len(parts) == len(set(days))
    for day, part in parts:
        assert part["number"].to_pylist() == [number for number, each in enumerate(days) if each == day]
        assert DAY not in part.column_names


def test_what_is_written_is_read_again_with_its_statistics(lake: Lake) -> None:
    written = rows([SECOND, FIRST, None, SECOND])
    table = lake.create(NAME, SCHEMA, partition_by=[DAY])
    files = write_files(lake.store(NAME.layer, NAME.table), written, without_dictionary=["id"])
    table.create_write_transaction(files, "append", table.schema(), [DAY])
    table.update_incremental()
    query = (
        "select id, number, moment, names, event_date from read_parquet($files, hive_partitioning=true) order by number"
    )
    with connect() as connection:
        found = connection.sql(query, params={"files": table.file_uris()}).to_arrow_table()
    assert found.select(SCHEMA.names[:4]).to_pylist() == written.select(SCHEMA.names[:4]).to_pylist()
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    of_second = next(each for each in actions if each[f"partition.{DAY}"] == SECOND)
    assert (of_second["num_records"], of_second["min.number"], of_second["max.number"]) == (2, 0, 3)
    assert of_second["max.moment"] == datetime(2026, 3, 1, 0, 0, 0, 3, tzinfo=UTC)
    assert of_second["null_count.id"] == 0
    assert sorted(each["num_records"] for each in actions) == [1, 1, 2]


def test_bounds_of_texts_are_left_out_and_times_keep_their_microseconds(tmp_path) -> None:
    (file,) = write_files(LocalStore(tmp_path), rows([FIRST] * 3))
    told = json.loads(file.stats)
    assert told["maxValues"] == {"number": 2, "moment": "2026-03-01T00:00:00.000002Z"}
    assert told["nullCount"] == {"id": 0, "number": 0, "moment": 0}
    assert (tmp_path / file.path).stat().st_size == file.size


@pytest.mark.parametrize(
    ("micros", "told"),
    [
        (-99_999_999_999_000_000, None),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (253_402_300_800_000_000, None),
        (2**63 - 1, None),
    ],
    ids=["before year 1", "year 1", "year 9999", "year 10000", "the largest"],
)
def test_a_time_that_no_log_can_name_has_no_bounds(tmp_path, micros: int, told: str | None) -> None:
    moments = pa.array([micros], pa.int64()).cast(SCHEMA.field("moment").type)
    odd = rows([FIRST]).set_column(2, SCHEMA.field("moment"), moments)
    (file,) = write_files(LocalStore(tmp_path), odd)
    assert json.loads(file.stats)["maxValues"].get("moment") == told
    assert json.loads(file.stats)["numRecords"] == 1
