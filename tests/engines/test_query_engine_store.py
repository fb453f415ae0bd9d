"""The warehouse on a lake that lies on an S3-compatible store: the metastore has no keys to it, Trino reads it."""

import json
from collections.abc import Callable, Iterator
from datetime import date

import pyarrow as pa
import pytest
from command_line import cli_here
from deltalake import DeltaTable, write_deltalake
from query_engine import EngineMissing, QueryEngine
from s3_server import S3Server

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.warehouse.trino import Trino

NAME = TableName("marts", "campaign_daily")
SCHEMA = pa.schema([("day", pa.date32()), ("clicks", pa.int64())])


@pytest.fixture(scope="module")
def engine(store: S3Server, unavailable: Callable[[str], None]) -> Iterator[QueryEngine]:
    try:
        with QueryEngine(store.options() | {"METASTORE_BUCKETS": "lake others"}) as running:
            yield running
    except EngineMissing as error:
        unavailable(str(error))


def test_tables_on_a_store_are_registered_read_and_unregistered(engine: QueryEngine, store: S3Server) -> None:
    lake = Lake("s3://lake/warehouse", store.options())
    table = lake.create(NAME, SCHEMA, partition_by=["day"])
    asked = {
        "LAKE": lake.root,
        "STORAGE_OPTIONS": json.dumps(store.options()),
        "TRINO__HOST": "127.0.0.1",
        "TRINO__PORT": str(engine.port),
    }
    trino = Trino("127.0.0.1", engine.port, "analyst", catalog="lake")

    def land(*clicks: int) -> DeltaTable:
        write_deltalake(
            table, pa.table({"day": [date(2024, 10, 4)] * len(clicks), "clicks": clicks}, SCHEMA), mode="append"
        )
        return table

    land(1, 2)
    made = cli_here("register", **asked)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "s3://lake/warehouse/marts/campaign_daily" in made.stdout
    assert trino.rows("select day, sum(clicks) from marts.campaign_daily group by day") == (("2024-10-04", 3),)
    land(4)
    assert trino.rows("select sum(clicks) from marts.campaign_daily") == ((7,),)
    assert cli_here("register", **asked).stdout.strip() == "1 tables: 1 unchanged."
    objects = store.buckets / "lake/warehouse/marts/campaign_daily"
    before = sorted(path.name for path in objects.rglob("*.parquet"))
    (objects / "_delta_log").rename(store.buckets / "lake/aside")
    assert "1 unregistered" in cli_here("register", **asked).stdout
    assert sorted(path.name for path in objects.rglob("*.parquet")) == before
