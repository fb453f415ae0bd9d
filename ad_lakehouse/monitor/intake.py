"""One topic into counts: read, decoded, counted, not yet committed.

Belongs here: the consumer of one source, its clocks, how far its windows are complete. Not here: the counting itself
(counting.py), the commit (table.py), the order of several sources (run.py).
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import TopicPartition

from ad_lakehouse.monitor.counting import Clock, Counts, count_records, micros
from ad_lakehouse.monitor.recent_ids import RecentIds
from ad_lakehouse.monitor.table import Counted
from ad_lakehouse.settings import KafkaSettings, Settings
from kafka_sinks.batch import Batch, Growing
from kafka_sinks.cluster import Cluster, KafkaUnreachable, Topic
from kafka_sinks.consume import CHUNK, TopicConsumer
from kafka_sinks.decode import decode_batch, open_registry
from kafka_sinks.origin import origins
from kafka_sinks.positions import Range
from kafka_sinks.read_ranges import RangeReader
from kafka_sinks.sources import Source

WARM_IDS = 200_000  # ids read again at the start, so that a duplicate is seen across a restart
DEAF_SECONDS = 60.0  # a client that hears nothing for so long of what is there hears nothing any more
ASK_SECONDS = 5.0  # how often the broker is asked whether a silent topic has more


class TopicChanged(Exception):  # an event that begins the reading anew, not an error that a user sees
    """The topic has other partitions now, or is another one."""


class Intake:
    """Reads one topic from `positions`. A context manager."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        cluster: Cluster,
        topic: Topic,
        positions: Mapping[int, int],
        clocks: Mapping[int, Clock],
    ) -> None:
        self.source, self.topic, self.positions = source, topic, dict(positions)
        self._settings, self._cluster, self._monitor = settings, cluster, settings.monitor
        self._kafka: KafkaSettings = settings.kafka.model_copy(update={"group": settings.monitor.group})
        self._registry = (
            open_registry(settings.kafka.schema_registry, settings.kafka.schema_registry_auth)
            if source.wire == "avro"
            else None
        )
        self._ids = RecentIds(self._monitor.recent_ids)
        self._clocks = dict(clocks)
        self._growing = Growing(positions)
        self._pending: Counts = Counter()
        self._ranges: dict[int, Range] = {}
        self._heard = dict.fromkeys(topic.partitions, time.monotonic())
        self._at_end: set[int] = set()
        self._asked = 0.0
        self._unread: set[int] | None = None  # partitions of which the broker has more; None when it does not answer
        self._watermark: int | None = None
        self._consumer = TopicConsumer(self._kafka, cluster, topic)

    def __enter__(self) -> "Intake":
        self._consumer.__enter__()
        self._consumer.consumer.assign([TopicPartition(self.topic.name, p, at) for p, at in self.positions.items()])
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.__exit__(*error)

    def warm_up(self, lows: Mapping[int, int]) -> None:
        """Reads the last ids before the positions again. They are not counted."""
        share = WARM_IDS // len(self.topic.partitions)
        ranges = {p: Range(max(lows[p], at - share), at) for p, at in self.positions.items()}
        with RangeReader(self._kafka, self._cluster, self.topic) as reader:
            for batch in reader.batches(ranges, **self._limits):
                self._ids.repeated(self._decoded(batch, _times(batch))["event_id"])

    def read(self, wait: float) -> int:
        """Takes what has come, and counts full batches; returns the records, at most `CHUNK`.

        Waits so many seconds for as many. Raises what `TopicConsumer.poll` does.
        """
        records, reached = self._consumer.poll(CHUNK, wait)
        if records:
            self._growing.add(records)
            for partition in {each.partition() for each in records}:
                self._heard[partition] = time.monotonic()
                self._at_end.discard(partition)
        for partition, offset in reached:
            self._growing.reach(partition, offset)
            self._at_end.add(partition)
        if self._growing.rows >= self._limits["max_rows"] or self._growing.nbytes >= self._limits["max_bytes"]:
            self.digest()
        return len(records)

    def digest(self) -> None:
        """Decodes and counts what is held. Raises `RegistryUnavailable`, and keeps nothing then."""
        batch = self._growing.take()
        if batch is None:
            return
        if len(batch):
            times = _times(batch)
            rows = self._decoded(batch, times)
            self._pending += count_records(
                rows,
                batch.partitions.to_numpy(),
                micros(times),
                self._ids.repeated(rows["event_id"]),
                self._clocks,
                window=self._monitor.window_seconds * 1_000_000,
                lateness=round(self._monitor.lateness_seconds * 1e6),
            )
        for partition, span in batch.ranges.items():
            before = self._ranges.get(partition, span)
            self._ranges[partition] = Range(before.start, span.end)

    def take(self) -> Counted | None:
        """What was counted since the last call; None when nothing was read."""
        self.digest()
        if not self._ranges:
            return None
        counted = Counted(self.source.name, self.topic, self._pending, self._ranges, dict(self._clocks))
        self._pending, self._ranges = Counter(), {}
        self.positions |= {partition: span.end for partition, span in counted.ranges.items()}
        return counted

    def show_position(self) -> None:
        self._consumer.show_position(self.positions, wait=False)

    def complete_until(self, now: datetime) -> int | None:
        """Microseconds up to which windows are complete; None while nobody knows. Never goes back.

        The slowest partition decides, without those that are silent and read to their end; when all are, the clock
        on the wall. A broker that does not answer makes no silent partition complete. Raises `TopicChanged`, and
        `KafkaUnreachable` when nothing comes of what the broker has.
        """
        unread = self._ask()
        if unread and time.monotonic() - max(self._heard.values()) > DEAF_SECONDS:
            raise KafkaUnreachable(
                f"Nothing came of {self.topic.name} for {DEAF_SECONDS:.0f} s, though there is more.",
                remedy="It is read by a new client.",
            )
        late, idle = round(self._monitor.lateness_seconds * 1e6), self._monitor.idle_seconds
        # Each by itself: of a busy partition there is always more
        silent = {
            p
            for p in self.topic.partitions
            if unread is not None and p not in unread and p in self._at_end and time.monotonic() - self._heard[p] > idle
        }
        clocks = [self._clocks.get(p, Clock()).newest for p in self.topic.partitions if p not in silent]
        if clocks:
            known = [each for each in clocks if each is not None]
            mark = min(known) - late if len(known) == len(clocks) else None
        else:
            mark = round(now.timestamp() * 1e6 - idle * 1e6) - late
        if mark is not None:
            self._watermark = mark if self._watermark is None else max(mark, self._watermark)
        return self._watermark

    def _ask(self) -> set[int] | None:
        """Partitions of which the broker has more than was read, asked from time to time; None when it is away."""
        if time.monotonic() - self._asked > ASK_SECONDS:
            self._unread = None
            with suppress(KafkaUnreachable):
                if self._cluster.topic(self.topic.name) != self.topic:
                    raise TopicChanged(self.topic.name)
                marks = self._cluster.watermarks(self.topic)
                self._unread = {p for p, at in self._growing.positions.items() if marks[p].stable > at}
            self._asked = time.monotonic()
        return self._unread

    @property
    def _limits(self) -> dict[str, int]:
        landing = self._settings.landing
        return {"max_rows": landing.max_batch_rows, "max_bytes": max(1, landing.max_batch_bytes // 4)}

    def _decoded(self, batch: Batch, times: pa.Array) -> pa.Table:
        keep = self.source.without_id == "keep"
        place = origins(self.topic.name, batch.partitions, batch.offsets, batch.times) if keep else None
        return decode_batch(
            self.source, batch.payloads, times,
            limits=self._settings.landing, registry=self._registry, origins=place,
        )  # fmt: skip


def _times(batch: Batch) -> Any:
    """When each record was produced; now for one that does not say."""
    return pc.coalesce(batch.times, pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC")))
