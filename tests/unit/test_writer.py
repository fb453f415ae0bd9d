"""Which engine may write a table, on a disk and on an object store."""

from pathlib import Path

import pyarrow as pa
import pytest

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.writer import NotTheWriter, hand_over, initial_writer, require_writer, writer_of

NAME = TableName("silver", "impressions")
STORE = Lake("s3://bucket/lake")


@pytest.fixture
def disk(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path))
    lake.create(NAME, pa.schema([("a", pa.int64())]))
    return lake


def test_on_a_disk_any_engine_writes_until_one_is_named(disk: Lake) -> None:
    assert initial_writer(disk, "spark") == {}
    for engine in ("duckdb", "spark"):
        require_writer(disk, NAME, disk.open(NAME), engine)
    assert hand_over(disk, NAME, "spark")
    require_writer(disk, NAME, disk.open(NAME), "spark")
    with pytest.raises(NotTheWriter, match=r"handover --to duckdb silver\.impressions"):
        require_writer(disk, NAME, disk.open(NAME))


def test_on_an_object_store_the_engine_that_creates_a_table_is_its_writer(disk: Lake) -> None:
    table = disk.open(NAME)
    assert initial_writer(STORE, "spark") == {"ad_lakehouse.writer": "spark"}
    assert writer_of(disk, table) is None
    assert writer_of(STORE, table) == "duckdb", "tables of the time before Spark say nothing"
    with pytest.raises(NotTheWriter, match="written by duckdb; spark beside it could lose commits"):
        require_writer(STORE, NAME, table, "spark")


def test_handing_over_twice_commits_once(disk: Lake) -> None:
    assert hand_over(disk, NAME, "spark")
    version = disk.open(NAME).version()
    assert not hand_over(disk, NAME, "spark")
    assert disk.open(NAME).version() == version
