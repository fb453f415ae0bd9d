"""A topic's batches into its bronze table: decoded, then committed with the positions behind them.

Belongs here: what one run (sink.py) and the service (follow.py) share. Not here: reading batches (read_ranges.py,
member.py), how a commit is made (commit.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.batch import Batch
from kafka_sinks.cluster import Topic
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.csv_headers import decode_with_headers
from kafka_sinks.decode import open_registry
from kafka_sinks.origin import batch_id, bronze_rows, origins, reasons, reject_before
from kafka_sinks.positions import Gap, Plan, Range, app_id
from kafka_sinks.sources import Source, bronze_schema

Item = TypeVar("Item")


class OutOfOrder(LakehouseError):
    """The table is landed less far than a batch begins: committing it would leave a hole."""

    exit_code = 34


@dataclass
class LandReport:
    """What was landed of one topic.

    `records` = accepted + all of `rejected` (by reason). `lag`: offsets between each partition's position and its
    end, read when the run was over; transaction markers count in it. `gaps`: losses that were accepted. `conflicts`:
    commits that another writer was before.
    """

    table: TableName
    topic: str
    version: int = 0
    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    payload_bytes: int = 0
    batches: int = 0
    conflicts: int = 0
    seconds: float = 0.0
    positions: dict[int, int] = field(default_factory=dict)
    lag: dict[int, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    @property
    def accepted(self) -> int:
        return self.records - self.rejected.total()


@dataclass(frozen=True)
class Decoded:
    """A batch and its rows: one for each record."""

    batch: Batch
    rows: pa.Table
    identity: str


def utc_now() -> datetime:
    return datetime.now(UTC)


class TopicRun:
    """One topic into its table: batches in, commits out, the report kept up to date."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        topic: Topic,
        table: BronzeTable,
        clock: Callable[[], datetime],
        report: LandReport,
    ) -> None:
        self._source, self._settings, self._topic, self._table = source, settings, topic, table
        self._clock, self.report = clock, report
        self._schema = bronze_schema(source)
        kafka = settings.kafka
        self._registry = (
            open_registry(kafka.schema_registry, kafka.schema_registry_auth) if source.wire == "avro" else None
        )

    def positions(self) -> dict[int, int | None]:
        """The next offset of each partition in the version that is open for writing."""
        return self._positions(self._table, self._topic.partitions)

    def accept(self, plan: Plan) -> None:
        """Commits the positions behind the gaps, with the gaps in the note and no rows."""

        def prepare(table: BronzeTable) -> Commit | None:
            there = self._positions(table, [gap.partition for gap in plan.gaps])
            still = [gap for gap in plan.gaps if there[gap.partition] == gap.start]
            deliveries = [self._delivery(gap.partition, Range(gap.start, gap.end), 0, lost=True) for gap in still]
            return Commit(self._schema.empty_table(), deliveries) if deliveries else None

        self._table.land(batch_id(self._clock(), uuid4()), prepare, kind="accepted_loss")
        self.report.gaps = plan.gaps

    def decode(self, batch: Batch) -> Decoded:
        """Raises `RegistryUnavailable`; decoding again then gives the same rows."""
        landed_at = self._clock()
        identity = batch_id(landed_at, uuid4())
        return Decoded(batch, self._rows(batch, landed_at, identity), identity)

    def land(self, decoded: Decoded) -> Commit | None:
        """Commits what no other sink has landed of a batch. Raises what `BronzeTable.land` raises; `OutOfOrder`."""
        batch = decoded.batch

        def prepare(table: BronzeTable) -> Commit | None:
            try:
                left = untaken(batch.ranges, self._positions(table, batch.ranges))
            except OutOfOrder:  # or who had the partition before has landed since the table was opened
                table.refresh()
                left = untaken(batch.ranges, self._positions(table, batch.ranges))
            deliveries = [self._delivery(p, each, batch.records(p, each.start)) for p, each in left.items()]
            kept = reject_before(table.retained_from, decoded.rows, lambda _: batch.payloads)
            if left != batch.ranges:
                kept = kept.filter(pa.array(inside(batch, left)))
            return Commit(kept, deliveries) if deliveries else None

        before = self._table.conflicts
        commit = self._table.land(decoded.identity, prepare)
        self.report.conflicts += self._table.conflicts - before
        if commit is not None:
            self.report.batches += 1
            self.report.rejected += reasons(commit.rows)  # before records: accepted never falls
            self.report.records += sum(each.records for each in commit.deliveries)
            self.report.payload_bytes += batch.payloads.nbytes * commit.rows.num_rows // max(1, len(batch))
        return commit

    def finish(self) -> LandReport:
        """The report with the positions that are now in the table."""
        self.report.version = self._table.version
        self.report.positions = {p: at for p, at in self.positions().items() if at is not None}
        return self.report

    def _rows(self, batch: Batch, landed_at: datetime, identity: str) -> pa.Table:
        if not len(batch):  # markers only
            return self._schema.empty_table()
        keep = self._source.without_id == "keep"
        landed = pa.scalar(landed_at, pa.timestamp("us", "UTC"))
        decoded = decode_with_headers(
            self._source,
            batch.payloads,
            pa.repeat(landed, len(batch)) if self._source.dimension else pc.coalesce(batch.times, landed),
            batch.headers,
            limits=self._settings.landing,
            registry=self._registry,
            origins=origins(self._topic.name, batch.partitions, batch.offsets, batch.times) if keep else None,
        )
        return bronze_rows(
            self._schema,
            decoded,
            _topic=self._topic.name,
            _partition=batch.partitions,
            _offset=batch.offsets,
            _timestamp=batch.times,
            _key=batch.keys,
            _headers=batch.headers,
            _landed_at=landed_at,
            _batch=identity,
        )

    def _positions(self, table: BronzeTable, partitions: Collection[int]) -> dict[int, int | None]:
        return {each: position(table.landed(app_id(self._topic, each))) for each in partitions}

    def _delivery(self, partition: int, each: Range, records: int, **more: bool) -> Delivery:
        note = {
            "topic": self._topic.name,
            "topic_id": self._topic.topic_id,
            "partition": partition,
            "start": each.start,
            "end": each.end,
            "records": records,
            **more,
        }
        return Delivery(app_id(self._topic, partition), each.end - 1, records, note)


def position(version: int | None) -> int | None:
    """The next offset, from the version of a partition's transaction; None when nothing of it is landed."""
    return None if version is None else version + 1


def untaken(ranges: Mapping[int, Range], positions: Mapping[int, int | None]) -> dict[int, Range]:
    """What is left of the ranges behind the positions another sink may have moved.

    Raises `OutOfOrder` when a position lies before its range, as after a table was replaced by an older copy.
    """
    left = {}
    for partition, each in ranges.items():
        landed = positions[partition]
        if landed is not None and landed < each.start:
            raise OutOfOrder(
                f"Partition {partition} is landed up to offset {landed - 1}, and the batch begins at {each.start}.",
                remedy="Nothing was changed. Land again: it goes on at the table's position.",
            )
        start = max(each.start, landed or 0)
        if start < each.end:
            left[partition] = Range(start, each.end)
    return left


def inside(batch: Batch, ranges: Mapping[int, Range]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of a batch lie in the ranges."""
    partitions, offsets = batch.partitions.to_numpy(), batch.offsets.to_numpy()
    mask = np.zeros(len(batch), dtype=np.bool_)
    for partition, each in ranges.items():
        mask |= (partitions == partition) & (offsets >= each.start) & (offsets < each.end)
    return mask


def ahead(items: Iterator[Item], stop: Callable[[], None], name: str) -> Generator[Item, None, None]:
    """The same items, the next one made in a thread of its own while the caller works on one.

    `stop` is called at the end, so that an item which nobody waits for any more is not waited for.
    """
    with ThreadPoolExecutor(1, thread_name_prefix=name) as pool:
        coming = pool.submit(next, items, None)
        try:
            while (item := coming.result()) is not None:
                coming = pool.submit(next, items, None)
                yield item
        finally:
            stop()
