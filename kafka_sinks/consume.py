"""Reading ranges of offsets from Kafka as bounded Arrow batches.

Belongs here: the consumer, its memory, the end of a range. Not here: what the bytes mean (decode/), which ranges
(positions.py), keeping the rows (commit.py).

No consumer group is joined: the ranges are assigned, since the table's log says where to go on. Under
`read_committed` a partition's end shows as an end-of-partition event, whose offset lies behind transaction
markers, aborted records and offsets that compaction removed; so the position passes over them.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.cluster import MISSING, Cluster, KafkaUnreachable, Topic, TopicMissing, client_config, connect
from kafka_sinks.positions import Gap, Range, position_lost

CHUNK = 10_000  # messages a call: fewer cost calls, more cost memory for message objects
PREFETCH_BYTES = 32 << 20  # what librdkafka may hold ahead of us
WAIT_SECONDS = 0.1  # consume() waits this long for a full chunk, also when the end has been reached
PATIENCE_SECONDS = 30.0  # silence after which the broker counts as gone
IDLE_SECONDS = 2.0  # silence after which the topic is asked for: a deleted topic is just silent
LAST_MILLISECOND = 253_402_300_799_999  # 9999-12-31; a producer may send any 64-bit number
HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


class ReadFailed(LakehouseError):
    """The broker sent something that can't be read (a broken checksum, an unknown compression)."""

    exit_code = 23


@dataclass(frozen=True)
class Batch:
    """Records as they came, one row each, in the order of each partition.

    `payloads` and `keys` binary, null for a tombstone; `times` timestamp(us, UTC), null when the record has none;
    `ranges` say which offsets of each partition this batch covers, also those that hold no record.
    """

    payloads: pa.BinaryArray
    keys: pa.BinaryArray
    headers: pa.ListArray
    times: pa.TimestampArray
    partitions: pa.Int32Array
    offsets: pa.Int64Array
    ranges: Mapping[int, Range]

    def __len__(self) -> int:
        return len(self.offsets)

    def records(self, partition: int, from_offset: int) -> int:
        """Records of a partition at or above an offset."""
        offsets = self.offsets.to_numpy()
        return int(np.count_nonzero((self.partitions.to_numpy() == partition) & (offsets >= from_offset)))


class Reader:
    """Reads the ranges of one topic; a context manager that closes the consumer."""

    def __init__(
        self, settings: KafkaSettings, cluster: Cluster, topic: Topic, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._cluster, self._topic, self._patience = cluster, topic, patience
        self._last_error = ""
        self._stopped = False
        self._consumer = connect(
            Consumer,
            client_config(settings, self._remember)
            | {
                "group.id": settings.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "check.crcs": True,
                # librdkafka stalls 1 s when its local queue is full; the bound on memory is the one in bytes.
                "queued.min.messages": 1_000_000,
                "queued.max.messages.kbytes": PREFETCH_BYTES >> 10,
                "fetch.queue.backoff.ms": 10,
            },
        )

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def batches(self, ranges: Mapping[int, Range], *, max_rows: int, max_bytes: int) -> Iterator[Batch]:
        """Batches of at most `max_rows` records and about `max_bytes` of payload until each range is read.

        Raises `PositionLost`, `TopicMissing`, `KafkaUnreachable` or `ReadFailed`.
        """
        pending = {partition: each for partition, each in ranges.items() if each.start < each.end}
        if not pending:
            return
        self._consumer.assign([TopicPartition(self._topic.name, p, each.start) for p, each in pending.items()])
        position = {partition: each.start for partition, each in pending.items()}
        begun = dict(position)
        held: list[Batch] = []
        rows = size = 0
        typical = 100_000  # bytes of a record: careful at first, corrected by what comes
        heard = time.monotonic()
        while pending and not self._stopped:
            left = sum(pending[partition].end - position[partition] for partition in pending)
            room = max(1, (max_bytes - size) // typical)
            messages = self._consumer.consume(min(CHUNK, max_rows - rows, room, left), WAIT_SECONDS)
            if messages:
                heard = time.monotonic()
            else:
                self._endure(time.monotonic() - heard)
            events = [message for message in messages if message.error() is not None]
            records = [message for message in messages if message.error() is None] if events else messages
            ended = [self._ended(event) for event in events]
            if records:
                chunk = as_batch(records, position, pending)
                del records, messages
                held.append(chunk)
                rows += len(chunk)
                size += chunk.payloads.nbytes + chunk.keys.nbytes + chunk.headers.nbytes
                typical = max(1, size // max(rows, 1))
            position |= {p: max(position[p], offset) for p, offset in ended if p in pending}
            for partition in [p for p, each in pending.items() if position[p] >= each.end]:
                # What lies beyond the frozen end was not there when the run began: it is the next run's.
                position[partition] = pending.pop(partition).end
                self._consumer.pause([TopicPartition(self._topic.name, partition)])
            if rows >= max_rows or size >= max_bytes or not pending:
                moved = {p: Range(begun[p], to) for p, to in position.items() if to > begun[p]}
                yield joined(held, moved)
                held, rows, size, begun = [], 0, 0, dict(position)

    def stop(self) -> None:
        """Ends `batches` at its next look, whichever thread reads it."""
        self._stopped = True

    def show_position(self, positions: Mapping[int, int]) -> str:
        """Commits positions to the consumer group, for lag displays only; returns why it could not, or ''."""
        told = [TopicPartition(self._topic.name, partition, offset) for partition, offset in positions.items()]
        try:
            self._consumer.commit(offsets=told, asynchronous=False)
        except KafkaException as error:
            return str(error.args[0].str())
        return ""

    def _ended(self, message: Message) -> tuple[int, int]:
        """The partition and offset of an end-of-partition event; raises on any other."""
        error, partition = message.error(), message.partition()
        if error.code() == KafkaError._PARTITION_EOF:
            return partition, message.offset()
        place = f"{self._topic.name}[{partition}] at offset {message.offset()}"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            low = self._cluster.watermarks(self._topic)[partition].low
            raise position_lost([Gap(self._topic.name, self._topic.topic_id, partition, message.offset(), low)])
        if error.code() in MISSING:
            raise TopicMissing(f"Topic {self._topic.name} was deleted while it was read.", remedy="Create it again.")
        # Not skipped: librdkafka goes on behind records that it could not read, and they would be lost.
        raise ReadFailed(f"{place}: {error.str()}.", remedy="Land again; if it stays, repair the topic at this offset.")

    def _endure(self, silent: float) -> None:
        """Nothing came for `silent` seconds: raises when the topic is gone or patience ends."""
        if silent > self._patience:
            raise KafkaUnreachable(
                f"Kafka sent nothing of {self._topic.name} for {self._patience:.0f} s{self._told()}.",
                remedy="Check the broker, then land again: it goes on where it stopped.",
            )
        if silent > IDLE_SECONDS and not self._last_error:
            self._cluster.check_same(self._topic)

    def _told(self) -> str:
        return f" ({self._last_error})" if self._last_error else ""

    def _remember(self, error: KafkaError) -> None:
        self._last_error = error.str()


def as_batch(records: list[Message], position: dict[int, int], pending: Mapping[int, Range]) -> Batch:
    """Messages as Arrow columns without those at or beyond their range's end; moves `position` behind them."""
    partitions = np.array([record.partition() for record in records], dtype=np.int32)
    offsets = np.array([record.offset() for record in records], dtype=np.int64)
    inside = np.ones(len(records), dtype=bool)
    for partition in np.unique(partitions).tolist():
        of_partition = partitions == partition
        end = pending[partition].end if partition in pending else position[partition]
        inside &= ~of_partition | (offsets < end)
        position[partition] = min(end, int(offsets[of_partition][-1]) + 1)
    if not inside.all():
        records = [record for record, keep in zip(records, inside.tolist(), strict=True) if keep]
        partitions, offsets = partitions[inside], offsets[inside]
    headers = [record.headers() for record in records]
    return Batch(
        payloads=pa.array([record.value() for record in records], pa.binary()),
        keys=pa.array([record.key() for record in records], pa.binary()),
        headers=pa.array(headers, HEADERS) if any(headers) else pa.nulls(len(records), HEADERS),
        times=record_times([record.timestamp() for record in records]),
        partitions=pa.array(partitions),
        offsets=pa.array(offsets),
        ranges={},
    )


def record_times(stamps: list[tuple[int, int]]) -> pa.TimestampArray:
    """Kafka's (kind, milliseconds) as timestamps; null when there is none, or none that a clock can show."""
    kinds, milliseconds = np.array(stamps, dtype=np.int64).reshape(-1, 2).T
    known = (kinds != 0) & (milliseconds >= 0) & (milliseconds <= LAST_MILLISECOND)
    return pa.array(np.where(known, milliseconds, 0) * 1_000, pa.int64(), mask=~known).cast(pa.timestamp("us", "UTC"))


def joined(chunks: list[Batch], ranges: Mapping[int, Range]) -> Batch:
    """One batch of several."""

    def column(name: str, kind: pa.DataType) -> Any:
        return pa.concat_arrays([getattr(chunk, name) for chunk in chunks] or [pa.array([], kind)])

    return Batch(
        payloads=column("payloads", pa.binary()),
        keys=column("keys", pa.binary()),
        headers=column("headers", HEADERS),
        times=column("times", pa.timestamp("us", "UTC")),
        partitions=column("partitions", pa.int32()),
        offsets=column("offsets", pa.int64()),
        ranges=ranges,
    )
