"""Landing a topic: every record up to the end that was there when the run began, exactly once, then stop.

Belongs here: one run of one topic into its bronze table, and what it reports. Not here: its parts (cluster.py,
positions.py, consume.py, decode/, commit.py), a service that never stops, when to run (defs/).
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, Topic
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.consume import Batch, Reader
from kafka_sinks.decode import decode_batch, open_registry
from kafka_sinks.origin import batch_id, bronze_rows, origins, reasons, reject_before
from kafka_sinks.positions import Gap, Plan, Range, app_id, plan_ranges
from kafka_sinks.sources import Source, bronze_schema


@dataclass
class LandReport:
    """What one run of one topic landed.

    `records` = accepted + all of `rejected` (by reason). `lag`: offsets between each partition's position and its
    end, read when the run was over; transaction markers count in it. `gaps`: losses that were accepted.
    """

    table: TableName
    topic: str
    version: int = 0
    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    payload_bytes: int = 0
    batches: int = 0
    seconds: float = 0.0
    positions: dict[int, int] = field(default_factory=dict)
    lag: dict[int, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    lag_display_error: str = ""

    @property
    def accepted(self) -> int:
        return self.records - self.rejected.total()


def utc_now() -> datetime:
    return datetime.now(UTC)


def land_topic(
    lake: Lake,
    source: Source,
    settings: Settings,
    *,
    accept_loss: bool = False,
    progress: Callable[[LandReport], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
    timeout: float = 10.0,
) -> LandReport:
    """Lands the source's topic up to its last stable offsets. May run beside other sinks of the same topic.

    `progress` is told after each batch; questions to the broker wait at most `timeout` seconds. Raises
    `KafkaUnreachable`, `TopicMissing`, `PositionLost` (unless `accept_loss`), `ReadFailed`, `CommitContended`;
    batches committed before the error stay, and the next run goes on behind them.
    """
    if source.topic is None:
        raise ConfigurationError(
            f"Source {source.name} has no topic.", remedy="Set `topic` in its YAML, or land its files."
        )
    begun = time.monotonic()
    cluster = Cluster(settings.kafka, timeout)
    topic = cluster.topic(source.topic)
    watermarks = cluster.watermarks(topic)
    name = TableName("bronze", source.name)
    table = BronzeTable(lake, name, bronze_schema(source), str(source.schema.get("doc", "")))
    run = TopicRun(source, settings, topic, table, clock, LandReport(name, topic.name))
    plan = plan_ranges(topic, run.positions(), watermarks, accept_loss=accept_loss)
    if plan.gaps:
        run.accept(plan)
    limits = settings.landing
    with (
        Reader(settings.kafka, cluster, topic) as reader,
        # Two batches are held at once: one is read while the other is decoded and written.
        closing(
            ahead(
                reader.batches(
                    plan.ranges, max_rows=limits.max_batch_rows, max_bytes=max(1, limits.max_batch_bytes // 2)
                ),
                reader.stop,
            )
        ) as batches,
    ):
        for batch in batches:
            cluster.check_same(topic)
            run.land(batch)
            run.report.seconds = time.monotonic() - begun
            progress(run.report)
        report = run.finish()
        report.lag_display_error = reader.show_position(report.positions)
    ends = cluster.watermarks(topic)
    report.lag = {each: max(0, ends[each].high - report.positions.get(each, ends[each].low)) for each in ends}
    report.seconds = time.monotonic() - begun
    return report


class TopicRun:
    """One run of one topic: batches in, commits out, the report kept up to date."""

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
        self._registry = open_registry(settings.kafka.schema_registry) if source.wire == "avro" else None

    def positions(self) -> dict[int, int | None]:
        """The next offset of each partition in the version that is open for writing."""
        return {partition: self._position(self._table, partition) for partition in self._topic.partitions}

    def accept(self, plan: Plan) -> None:
        """Commits the positions behind the gaps, with the gaps in the note and no rows."""

        def prepare(table: BronzeTable) -> Commit | None:
            still = [gap for gap in plan.gaps if self._position(table, gap.partition) == gap.start]
            deliveries = [self._delivery(gap.partition, Range(gap.start, gap.end), 0, lost=True) for gap in still]
            return Commit(self._schema.empty_table(), deliveries) if deliveries else None

        self._table.land(batch_id(self._clock(), uuid4()), prepare, kind="accepted_loss")
        self.report.gaps = plan.gaps

    def land(self, batch: Batch) -> None:
        """Decodes one batch and commits what no other sink has landed."""
        landed_at = self._clock()
        identity = batch_id(landed_at, uuid4())
        rows = self._rows(batch, landed_at, identity)

        def prepare(table: BronzeTable) -> Commit | None:
            left = untaken(batch.ranges, {p: self._position(table, p) for p in batch.ranges})
            deliveries = [self._delivery(p, each, batch.records(p, each.start)) for p, each in left.items()]
            kept = reject_before(table.retained_from, rows, lambda _: batch.payloads)
            if left != batch.ranges:
                kept = kept.filter(pa.array(inside(batch, left)))
            return Commit(kept, deliveries) if deliveries else None

        commit = self._table.land(identity, prepare)
        if commit is not None:
            self.report.batches += 1
            self.report.records += sum(each.records for each in commit.deliveries)
            self.report.rejected += reasons(commit.rows)
            self.report.payload_bytes += batch.payloads.nbytes

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
        decoded = decode_batch(
            self._source,
            batch.payloads,
            pa.repeat(landed, len(batch)) if self._source.dimension else pc.coalesce(batch.times, landed),
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

    def _position(self, table: BronzeTable, partition: int) -> int | None:
        version = table.landed(app_id(self._topic, partition))
        return None if version is None else version + 1

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


def untaken(ranges: Mapping[int, Range], positions: Mapping[int, int | None]) -> dict[int, Range]:
    """What is left of the ranges behind the positions another sink may have moved."""
    starts = {partition: max(each.start, positions[partition] or 0) for partition, each in ranges.items()}
    return {p: Range(starts[p], each.end) for p, each in ranges.items() if starts[p] < each.end}


def inside(batch: Batch, ranges: Mapping[int, Range]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of a batch lie in the ranges."""
    partitions, offsets = batch.partitions.to_numpy(), batch.offsets.to_numpy()
    mask = np.zeros(len(batch), dtype=np.bool_)
    for partition, each in ranges.items():
        mask |= (partitions == partition) & (offsets >= each.start) & (offsets < each.end)
    return mask


def ahead(batches: Iterator[Batch], stop: Callable[[], None]) -> Generator[Batch, None, None]:
    """The same batches, the next one read in a thread of its own; `stop` ends a read that nobody waits for."""
    with ThreadPoolExecutor(1, thread_name_prefix="kafka-reader") as pool:
        coming = pool.submit(next, batches, None)
        try:
            while (batch := coming.result()) is not None:
                coming = pool.submit(next, batches, None)
                yield batch
        finally:
            stop()
