"""One batch of decoded impressions into a Delta table by each writer: `python -m benchmarks.parquet_writers`.

Belongs here: processor time of our data files beside delta-rs' own writer, in turn, the least of several. Not here:
landing as a whole (landing.py).
"""

import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY, write_files
from ad_lakehouse.settings import LandingSettings
from benchmarks.records import impressions
from kafka_sinks.commit import SPREAD
from kafka_sinks.decode import decode_batch
from kafka_sinks.origin import bronze_rows
from kafka_sinks.sources import bronze_schema, load_sources

ROWS, ROUNDS = 100_000, 10


def cpu_seconds(step: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    source, now = load_sources()["impressions"], time.time_ns() // 1000
    payloads = pa.array(list(islice(impressions(7, now), ROWS)), pa.binary())
    times = pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), ROWS)
    decoded = decode_batch(source, payloads, times, limits=LandingSettings())
    offsets = pa.array(range(ROWS), pa.int64())
    rows = bronze_rows(bronze_schema(source), decoded, _topic="t", _offset=offsets, _landed_at=datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        table = lake.create(TableName("bronze", "theirs"), rows.schema, partition_by=[DAY])
        lake.create(TableName("bronze", "ours"), rows.schema, partition_by=[DAY])
        store = lake.store("bronze", "ours")
        properties = WriterProperties(compression="ZSTD", compression_level=1)
        took: dict[str, list[float]] = {"delta-rs": [], "PyArrow": []}
        for _ in range(ROUNDS):
            took["delta-rs"].append(
                cpu_seconds(lambda: write_deltalake(table, rows, mode="append", writer_properties=properties))
            )
            took["PyArrow"].append(
                cpu_seconds(
                    lambda: table.create_write_transaction(
                        [*write_files(store, rows, without_dictionary=SPREAD)], "append", table.schema(), [DAY]
                    )
                )
            )
            table.update_incremental()
        for name, seconds in took.items():
            print(f"{name:10} {min(seconds) / ROWS * 1e6:.2f} CPU s per M rows, {ROWS:,} rows a commit")


if __name__ == "__main__":
    main()
