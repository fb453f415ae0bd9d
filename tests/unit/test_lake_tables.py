"""Creating and opening the tables of a lake."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from ad_lakehouse.errors import ForeignTable, NewerFormat, UnreadableTable
from ad_lakehouse.lake import Lake, TableName

NAME = TableName("silver", "clicks")
SCHEMA = pa.schema([("event_id", pa.string()), ("event_date", pa.date32())])


def here(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_table_carries_format_and_no_deletion_vectors(tmp_path: Path) -> None:
    table = here(tmp_path).create(NAME, SCHEMA, partition_by=["event_date"])
    assert table.metadata().configuration == {
        "ad_lakehouse.format": "1",
        "delta.checkpointInterval": "20",
        "delta.enableDeletionVectors": "false",
        "delta.enableExpiredLogCleanup": "false",
    }
    assert table.metadata().partition_columns == ["event_date"]


def test_many_creators_at_once_make_one_table(tmp_path: Path) -> None:
    lake = here(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        ids = {str(table.metadata().id) for table in pool.map(lambda _: lake.create(NAME, SCHEMA), range(16))}
    assert len(ids) == 1
    assert lake.open(NAME).version() == 0


def test_reading_a_lake_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    lake = here(tmp_path)
    assert lake.tables() == []
    assert lake.open_if_exists(NAME) is None
    assert list(tmp_path.iterdir()) == []


def test_tables_lists_published_and_developer_tables_apart(tmp_path: Path) -> None:
    lake = here(tmp_path)
    lake.create(NAME, SCHEMA)
    lake.create(TableName("marts", "campaign_daily"), SCHEMA, dev="ada")
    (tmp_path / "lake" / "silver" / "not_a_table").mkdir()
    assert lake.tables() == [NAME]
    assert lake.tables(dev="ada") == [TableName("marts", "campaign_daily")]


def test_foreign_table_is_refused_and_left_alone(tmp_path: Path) -> None:
    lake = here(tmp_path)
    write_deltalake(lake.uri(NAME), pa.table({"a": [1]}))
    with pytest.raises(ForeignTable, match=r"silver\.clicks at .* was not created by the ad lakehouse"):
        lake.create(NAME, SCHEMA)
    assert DeltaTable(lake.uri(NAME)).version() == 0


def test_newer_format_is_refused(tmp_path: Path) -> None:
    lake = here(tmp_path)
    DeltaTable.create(lake.uri(NAME), SCHEMA, configuration={"ad_lakehouse.format": "2"}, raise_if_key_not_exists=False)
    with pytest.raises(NewerFormat, match="has lake format 2; this version reads up to 1"):
        lake.open(NAME)


def test_deletion_vectors_are_refused_with_the_feature_named(tmp_path: Path) -> None:
    lake = here(tmp_path)
    DeltaTable.create(
        lake.uri(NAME),
        SCHEMA,
        configuration={"ad_lakehouse.format": "1", "delta.enableDeletionVectors": "true"},
        raise_if_key_not_exists=False,
    )
    with pytest.raises(UnreadableTable, match="deletionVectors"):
        lake.open(NAME)


@pytest.mark.parametrize("text", ["clicks", ".clicks", "silver.", ""])
def test_table_name_needs_layer_and_table(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not layer\.table"):
        TableName.parse(text)
