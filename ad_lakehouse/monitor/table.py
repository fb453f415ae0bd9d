"""The Delta table `ops.monitor_windows`: counts of windows, and in the same commit how far each partition was read.

Belongs here: its rows, what a monitor begins with. Not here: counting (counting.py), the commit itself (commit.py).

A row is what one commit adds to a count; a window's count is the sum of its rows. So a commit needs to know nothing of
those before it, and since the positions are in it, a monitor that dies anywhere goes on behind what was counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.monitor.counting import Clock, Counts
from ad_lakehouse.monitor.series import ARRIVED, Cells
from kafka_sinks.cluster import Topic
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.origin import batch_id
from kafka_sinks.positions import Gap, Range
from kafka_sinks.topic_run import OutOfOrder, position

WINDOWS = TableName("ops", "monitor_windows")
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        pa.field(DAY, pa.date32()),
        pa.field("window_start", TIME),
        pa.field("window_seconds", pa.int32()),
        pa.field("source", pa.string()),
        pa.field("topic_id", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("measure", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("count", pa.int64()),
        # Of rows of `arrived`: the partition's clock behind this commit (counting.py), and its next offset
        pa.field("newest", TIME),
        pa.field("delay_us", pa.int64()),
        pa.field("next_offset", pa.int64()),
    ]
)
DESCRIPTION = "Counts of the stream monitor: what each commit adds to a window in event time"


@dataclass(frozen=True)
class Counted:
    """What was counted of a topic since the last commit: its counts, the ranges read, the clocks behind them."""

    source: str
    topic: Topic
    counts: Counts
    ranges: Mapping[int, Range]
    clocks: Mapping[int, Clock]

    def cells(self) -> Iterator[Cells]:
        """Its counts without partitions and reasons."""
        sums: Counter[tuple[str, int]] = Counter()
        for slot, number in self.counts.items():
            sums[slot.measure, slot.window] += number
        for measure in {measure for measure, _ in sums}:
            mine = {window: number for (of, window), number in sums.items() if of == measure}
            yield Cells(
                self.source, measure, np.array(list(mine), np.int64), np.array(list(mine.values()), np.int64)
            )  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """What the table holds: counts of windows, and the clock of each partition by (topic id, partition)."""

    cells: tuple[Cells, ...]
    clocks: Mapping[tuple[str, int], Clock]


def app_id(topic: Topic, partition: int) -> str:
    """The name under which the position of the monitor stands in the Delta log."""
    return f"monitor:{topic.cluster_id}:{topic.topic_id}:{partition}"


class WindowsTable:
    """The table, open. Raises what `BronzeTable` raises."""

    def __init__(self, lake: Lake, window_seconds: int) -> None:
        self._lake, self._seconds = lake, window_seconds
        self._table = BronzeTable(lake, WINDOWS, SCHEMA, DESCRIPTION)

    def positions(self, topic: Topic) -> dict[int, int | None]:
        """The next offset of each partition."""
        return {each: position(self._table.landed(app_id(topic, each))) for each in topic.partitions}

    def add(self, counted: list[Counted], now: datetime) -> int:
        """Commits counts and positions together; returns the rows. Without any, the commit says that somebody looks.

        Raises `OutOfOrder` when another monitor has counted the same: nothing is written then.
        """
        rows = pa.concat_tables([SCHEMA.empty_table(), *(rows_of(each, self._seconds) for each in counted)])

        def prepare(table: BronzeTable) -> Commit:
            for each in counted:
                for partition, span in each.ranges.items():
                    there = position(table.landed(app_id(each.topic, partition)))
                    if there is not None and there != span.start:
                        raise OutOfOrder(
                            f"{WINDOWS}: {each.topic.name}[{partition}] is counted up to {there - 1}, not up to "
                            f"{span.start - 1}: another monitor writes the table.",
                            remedy="Run one monitor of a topic.",
                        )
            return Commit(rows, [delivery(each, p, span) for each in counted for p, span in each.ranges.items()])

        self._table.land(batch_id(now, uuid4()), prepare, kind="monitor")
        return int(rows.num_rows)

    def skip(self, topic: Topic, gaps: Sequence[Gap], now: datetime) -> None:
        """Moves positions over offsets that the broker does not have any more; the commit says which."""
        told = [
            Delivery(
                app_id(topic, gap.partition), gap.end - 1, 0,
                {"topic": gap.topic, "partition": gap.partition, "start": gap.start, "end": gap.end, "lost": True},
            )
            for gap in gaps
        ]  # fmt: skip
        if told:
            rows = SCHEMA.empty_table()
            self._table.land(batch_id(now, uuid4()), lambda _: Commit(rows, told), kind="monitor")

    def load(self, now: datetime, weeks: int) -> Kept:
        """The counts of the last `weeks` and a day, and the clocks. Rows of windows that do not fit are left out."""
        return load(self._lake, self._seconds, now - timedelta(weeks=weeks, days=1))


def delivery(counted: Counted, partition: int, span: Range) -> Delivery:
    number = sum(n for slot, n in counted.counts.items() if slot.measure == ARRIVED and slot.partition == partition)
    note = {"topic": counted.topic.name, "partition": partition, "start": span.start, "end": span.end}
    return Delivery(app_id(counted.topic, partition), span.end - 1, number, note | {"records": number})


def rows_of(counted: Counted, seconds: int) -> pa.Table:
    """One row for each count."""
    slots = sorted(counted.counts)
    starts = pa.array([each.window * seconds * 1_000_000 for each in slots], pa.int64()).cast(TIME)
    clocks = [counted.clocks.get(each.partition, Clock()) if each.measure == ARRIVED else Clock() for each in slots]
    offsets = [counted.ranges[each.partition].end if each.measure == ARRIVED else None for each in slots]
    columns: dict[str, Any] = {
        DAY: starts.cast(pa.date32()),
        "window_start": starts,
        "window_seconds": pa.repeat(pa.scalar(seconds, pa.int32()), len(slots)),
        "source": pa.repeat(counted.source, len(slots)),
        "topic_id": pa.repeat(counted.topic.topic_id, len(slots)),
        "partition": pa.array([each.partition for each in slots], pa.int32()),
        "measure": pa.array([each.measure for each in slots], pa.string()),
        "reason": pa.array([each.reason or None for each in slots], pa.string()),
        "count": pa.array([counted.counts[each] for each in slots], pa.int64()),
        "newest": pa.array([each.newest for each in clocks], pa.int64()).cast(TIME),
        "delay_us": pa.array([each.delay for each in clocks], pa.int64()),
        "next_offset": pa.array(offsets, pa.int64()),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def load(lake: Lake, seconds: int, since: datetime) -> Kept:
    """What `ops.monitor_windows` holds since a time: of windows of so many seconds, or of shorter ones that fit in.

    A partition that was silent since has no clock any more.
    """
    snapshot = Snapshot.of(WINDOWS, lake.open(WINDOWS))
    files = [each for each in snapshot.files if each.day is not None and each.day >= since.date()]
    if not files:
        return Kept((), {})
    with connect(lake) as connection:
        whole = connection.sql(snapshot.query(connection, files))
        cells = whole.query(
            "w",
            f"""select source, measure, epoch_us(window_start) // {seconds * 1_000_000} as number,
                       sum("count")::bigint as added
                from w where {seconds} % window_seconds = 0 and window_start >= '{since.isoformat()}' group by all""",
        ).to_arrow_table()  # fmt: skip
        clocks = whole.query(
            "w",
            f"""select topic_id, "partition", arg_max(epoch_us(newest), next_offset) as newest,
                       arg_max(delay_us, next_offset) as delay
                from w where measure = '{ARRIVED}' group by all""",
        ).to_arrow_table()  # fmt: skip
    return Kept(
        tuple(as_cells(cells)),
        {(each["topic_id"], each["partition"]): Clock(each["newest"], each["delay"]) for each in clocks.to_pylist()},
    )


def as_cells(rows: pa.Table) -> Iterator[Cells]:
    """Rows of source, measure, number (of the window) and added (to its count) as cells."""
    for key in rows.group_by(["source", "measure"]).aggregate([]).to_pylist():
        mine = rows.filter((pc.field("source") == key["source"]) & (pc.field("measure") == key["measure"]))
        yield Cells(key["source"], key["measure"], mine["number"].to_numpy(), mine["added"].to_numpy())


def last_look(lake: Lake) -> datetime | None:
    """When a monitor committed last; None when there has never been one."""
    table = lake.open_if_exists(WINDOWS)
    if table is None:
        return None
    stamps = [each["timestamp"] for each in table.history(20) if each.get("operation") == "WRITE"]
    return datetime.fromtimestamp(max(stamps) / 1000, UTC) if stamps else None
