"""Records of a topic as Arrow columns: a batch, and the batch that grows while it is read.

Belongs here: messages to columns, what was read of which offsets. Not here: the client that they come from
(consume.py), what the bytes mean (decode/).
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Message

from kafka_sinks.positions import Range

TYPICAL_BYTES = 100_000  # of a record that nobody has seen: careful at first, corrected by what comes
LAST_MILLISECOND = 253_402_300_799_999  # 9999-12-31; a producer may send any 64-bit number
Headers = list[tuple[str, bytes | None]]
UNREADABLE: Headers = [("\N{REPLACEMENT CHARACTER}", None)]
HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


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

    @property
    def nbytes(self) -> int:
        """Bytes of payloads, keys and headers."""
        return int(self.payloads.nbytes + self.keys.nbytes + self.headers.nbytes)

    def records(self, partition: int, from_offset: int) -> int:
        """Records of a partition at or above an offset."""
        offsets = self.offsets.to_numpy()
        return int(np.count_nonzero((self.partitions.to_numpy() == partition) & (offsets >= from_offset)))


class Growing:
    """The batch that is being read, and the next offset of each partition that is read."""

    def __init__(self, positions: Mapping[int, int]) -> None:
        self.positions = dict(positions)
        self.rows = self.nbytes = 0
        self.typical = TYPICAL_BYTES
        self.since: float | None = None  # monotonic time when the first position moved
        self._begun = dict(positions)
        self._chunks: list[Batch] = []

    def read_from(self, positions: Mapping[int, int]) -> None:
        """Partitions that are read from now on."""
        self.positions |= positions
        self._begun |= positions

    def drop(self, partitions: Collection[int]) -> None:
        """Forgets partitions and what was read of them."""
        for partition in partitions:
            self.positions.pop(partition, None)
            self._begun.pop(partition, None)
        self._chunks = [chunk for chunk in (without(each, partitions) for each in self._chunks) if len(chunk)]
        self.rows, self.nbytes = sum(map(len, self._chunks)), sum(chunk.nbytes for chunk in self._chunks)

    def room(self, most_bytes: int) -> int:
        """How many records of the usual size fit below so many bytes; at least one."""
        return max(1, (most_bytes - self.nbytes) // self.typical)

    def add(self, records: list[Message], ends: Mapping[int, int] | None = None) -> None:
        """Records behind the positions and below `ends` (exclusive, by partition); moves the positions."""
        chunk = as_batch(records, self.positions, ends or {})
        if not len(chunk):
            return
        self._chunks.append(chunk)
        self.rows += len(chunk)
        self.nbytes += chunk.nbytes
        self.typical = max(1, self.nbytes // self.rows)
        self._touch()

    def reach(self, partition: int, offset: int, ends: Mapping[int, int] | None = None) -> None:
        """Moves a position over offsets that hold no record, up to the end of those that has one."""
        offset = min(offset, (ends or {}).get(partition, offset))
        if offset > self.positions.get(partition, offset):
            self.positions[partition] = offset
            self._touch()

    def take(self) -> Batch | None:
        """What has been read since the last call; None when no position has moved."""
        moved = {p: Range(self._begun[p], to) for p, to in self.positions.items() if to > self._begun[p]}
        self.since = None
        if not moved:
            return None
        batch = joined(self._chunks, moved)
        self._chunks, self._begun, self.rows, self.nbytes = [], dict(self.positions), 0, 0
        return batch

    def _touch(self) -> None:
        if self.since is None:
            self.since = time.monotonic()


def as_batch(records: list[Message], positions: dict[int, int], ends: Mapping[int, int]) -> Batch:
    """Messages as columns; moves `positions` behind them.

    Left out are those of partitions without a position, before their position (the client may still hold records
    of a partition that it lost meanwhile), and at or beyond the partition's end.
    """
    partitions = np.fromiter(map(Message.partition, records), np.int32, len(records))
    offsets = np.fromiter(map(Message.offset, records), np.int64, len(records))
    inside = np.zeros(len(records), dtype=bool)
    for partition in np.unique(partitions).tolist():
        if partition not in positions:
            continue
        of_partition = partitions == partition
        end = ends.get(partition, np.iinfo(np.int64).max)
        inside |= of_partition & (offsets >= positions[partition]) & (offsets < end)
        positions[partition] = max(positions[partition], min(end, int(offsets[of_partition][-1]) + 1))
    if not inside.all():
        records = [record for record, keep in zip(records, inside.tolist(), strict=True) if keep]
        partitions, offsets = partitions[inside], offsets[inside]
    headers = headers_of(records)
    stamps = chain.from_iterable(map(Message.timestamp, records))
    return Batch(
        payloads=as_bytes(list(map(Message.value, records))),
        keys=pa.array(list(map(Message.key, records)), pa.binary()),
        headers=pa.array(headers, HEADERS) if any(headers) else pa.nulls(len(records), HEADERS),
        times=record_times(np.fromiter(stamps, np.int64, 2 * len(records))),
        partitions=pa.array(partitions),
        offsets=pa.array(offsets),
        ranges={},
    )


def as_bytes(values: list[bytes | None]) -> pa.BinaryArray:
    """What `pa.array` gives, at a fifth of its time: it grows its buffer as it goes, moving what is there."""
    try:
        joined = b"".join(values)  # type: ignore[arg-type]
    except TypeError:  # a tombstone
        return pa.array(values, pa.binary())
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), out=ends[1:])  # type: ignore[arg-type]
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(joined)])


def headers_of(records: list[Message]) -> list[Headers | None]:
    """The headers of each record; `UNREADABLE` where a key is no UTF-8, for which the client has no other way."""
    found: list[Headers | None] = []
    asked = map(Message.headers, records)  # each once: a second answer of such a record crashes
    while len(found) < len(records):
        try:
            found.extend(asked)
        except (SystemError, UnicodeDecodeError):
            found.append(UNREADABLE)
    return found


def record_times(stamps: np.ndarray[Any, np.dtype[np.int64]]) -> pa.TimestampArray:
    """Kafka's kind and milliseconds, in turn, as timestamps; null when there is none, or none that a clock can show."""
    kinds, milliseconds = stamps[0::2], stamps[1::2]
    known = (kinds != 0) & (milliseconds >= 0) & (milliseconds <= LAST_MILLISECOND)
    return pa.array(np.where(known, milliseconds, 0) * 1_000, pa.int64(), mask=~known).cast(pa.timestamp("us", "UTC"))


def without(batch: Batch, partitions: Collection[int]) -> Batch:
    """The batch but for the records of some partitions."""
    kept = pa.array(~np.isin(batch.partitions.to_numpy(), list(partitions)))
    return replace(
        batch,
        payloads=batch.payloads.filter(kept),
        keys=batch.keys.filter(kept),
        headers=batch.headers.filter(kept),
        times=batch.times.filter(kept),
        partitions=batch.partitions.filter(kept),
        offsets=batch.offsets.filter(kept),
    )


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
