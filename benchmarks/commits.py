"""What very many commits do to a table, and what maintenance costs: `python -m benchmarks commits`.

Belongs here: a bronze table as the service leaves it after a day of one commit a second; opening, committing, planning
and reading it, before and after its care. Not here: how fast the service is (follow.py).

The commits are copies of one that the landing made, each with its own data file and position: committing 86,400 times
would take an hour and give the same files.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import Snapshot, connect
from benchmarks.measure import Measured, measured
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.sources import bronze_schema, load_sources

TABLE = TableName("bronze", "impressions")
SCHEMA = bronze_schema(load_sources()["impressions"])
ROWS = 50  # of a commit


@dataclass(frozen=True)
class Took:
    """Milliseconds of each thing that is done with a table."""

    files: int
    open_it: float
    commit: float
    changed_days: float
    count_rows: float


def commits(number: int) -> tuple[Took, Took, Measured]:
    """Before and after the care, and what it took."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        fill(lake, number)
        before = took(lake, number)
        cared = measured("benchmarks.maintain_once", folder, number * ROWS)
        return before, took(lake, number), cared


def fill(lake: Lake, number: int) -> None:
    """So many commits, each of one small file."""
    BronzeTable(lake, TABLE, SCHEMA)
    land(lake, 0)
    folder = Path(lake.uri(TABLE))
    entry = (folder / "_delta_log" / f"{1:020d}.json").read_text()
    (data,) = folder.glob("event_date=*/*.parquet")
    content = data.read_bytes()
    for each in range(1, number):
        name = f"part-{each:06d}.parquet"
        data.with_name(name).write_bytes(content)
        lines = entry.replace(data.name, name).replace('"version":0', f'"version":{each}')
        (folder / "_delta_log" / f"{each + 1:020d}.json").write_text(lines)
    lake.open(TABLE).create_checkpoint()


def land(lake: Lake, offset: int) -> None:
    """One commit as the service makes it."""
    now = datetime.now(UTC)
    row = {
        "event_date": now.date(), "event_ts": now, "event_id": "e", "creative_id": "c", "user_id": "u", "site": "s",
        "_topic": "t", "_partition": 0, "_batch": "b", "_landed_at": now, "_timestamp": now,
    }  # fmt: skip
    rows = pa.Table.from_pylist([row | {"_offset": offset + each} for each in range(ROWS)], SCHEMA)
    place = {"topic": "t", "topic_id": "i", "partition": 0, "start": offset, "end": offset + ROWS, "records": ROWS}
    BronzeTable(lake, TABLE, SCHEMA).land("b", lambda _: Commit(rows, [Delivery("sink:c:i:0", offset, ROWS, place)]))


def took(lake: Lake, number: int) -> Took:
    """One warm run of each."""
    table = lake.open(TABLE)
    snapshot = Snapshot.of(TABLE, table)
    with connect() as connection:
        counted = connection.execute(f"select count(*) from ({snapshot.query(connection, snapshot.files)})").fetchone()
        if counted is None or counted[0] < number * ROWS:
            raise RuntimeError(f"{counted} rows of {number} commits")

    def count_rows() -> None:
        with connect() as connection:
            connection.execute(f"select count(distinct user_id) from ({snapshot.query(connection, snapshot.files)})")

    return Took(
        len(snapshot.files),
        milliseconds(lambda: lake.open(TABLE)),
        milliseconds(lambda: land(lake, 10**9)),
        milliseconds(lambda: TableLog(lake, TABLE).changed_days("event_date", 0, number)),
        milliseconds(count_rows),
    )


def milliseconds(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    step()
    return (time.perf_counter() - begun) * 1000
