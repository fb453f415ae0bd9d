"""A file as chunks of messages: the rows of one transaction, each with the topic it goes to.

Belongs here: what a row is on its topic. Not here: where records end (files/records.py, kafka_sinks/decode), the ids of
schemas (writers.py), sending.

| file | message |
|---|---|
| JSON Lines | the line |
| CSV | the record as it stands in the file; the file's header line in the message header `csv.header` |
| Avro container | the record's bytes behind 0 and its schema's id (Confluent's framing) |

Rows are not judged: what can't be decoded is sent as it is, and landing keeps it with its reason. A damaged Avro block
is one row, a container of its own. Only what is too large for a message is held back (`unsent`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.files.reading import check_encoding, readable
from ad_lakehouse.files.records import LONGEST_RECORD, first_record, text_records
from ad_lakehouse.files.router.sending import Sent
from ad_lakehouse.settings import RouterSettings
from kafka_sinks.csv_headers import CSV_HEADER
from kafka_sinks.decode import ContainerUnreadable, parse_header, split_rows
from kafka_sinks.decode.avro_blocks import Feed, read_header
from kafka_sinks.decode.avro_cut import Records as AvroRecords
from kafka_sinks.decode.avro_cut import read_records
from kafka_sinks.decode.avro_schema import SchemaRefused, checked_schema
from kafka_sinks.sources import Source

ENVELOPE = 512  # bytes of a batch beside its messages' values and headers
Item = TypeVar("Item")
SchemaId = Callable[[str, str], int]  # topic and text of a writer's schema → its id


@dataclass(frozen=True)
class Unsent:
    """A row that is not sent, and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Share:
    """Rows of a chunk that go to one topic: their numbers in the file, their bytes."""

    topic: str
    numbers: pa.Int64Array
    payloads: pa.BinaryArray


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file from `first` on, before `end`; none follow when `last`."""

    first: int
    end: int
    last: bool
    shares: Sequence[Share] = ()
    header: bytes | None = None
    unsent: Sequence[Unsent] = field(default=())

    @property
    def rows(self) -> int:
        """Rows that are sent."""
        return sum(len(share.numbers) for share in self.shares)

    def messages(self, name: str, sha256: str) -> Iterator[Sent]:
        """The messages, each with the name and hash of its file and its row (0-based, the CSV header not counted)."""
        origin = [("file", name.encode(errors="surrogateescape")), ("sha256", sha256.encode())]
        if self.header is not None:
            origin.append((CSV_HEADER, self.header))
        for share in self.shares:
            for number, payload in zip(share.numbers.to_pylist(), share.payloads.to_pylist(), strict=True):
                yield Sent(share.topic, payload, headers=[*origin, ("row", b"%d" % number)])


def read_chunks(
    stream: IO[bytes],
    name: str,
    takers: Sequence[Source],
    from_row: int,
    settings: RouterSettings,
    largest: int,
    schema_id: SchemaId,
) -> Iterator[Chunk]:
    """The file's chunks from a row on; at least one, and the last is marked so. `largest`: bytes of a message.

    Raises `FileBroken`, `HeaderUnfit`, `ContainerUnreadable`, and what `schema_id` raises.
    """
    whole = avro_chunks(stream, name, takers[0], settings, schema_id)
    if takers[0].wire != "avro":
        whole = text_chunks(stream, name, takers, settings)
    for chunk in whole:
        if chunk.end > from_row or chunk.last:
            yield without_large(behind(chunk, from_row), largest - len(name.encode(errors="surrogateescape")))


def text_chunks(stream: IO[bytes], name: str, takers: Sequence[Source], settings: RouterSettings) -> Iterator[Chunk]:
    """The chunks of a JSON Lines or CSV file."""
    is_csv = takers[0].wire == "csv"
    check_encoding(stream, name)
    header, columns = None, None
    if is_csv:
        with readable(stream, name) as text:
            header = first_record(text) or None
        columns = parse_header(header) if header else None
    topics = {source.name: str(source.topic) for source in takers}
    with_each = len(header or b"") + ENVELOPE  # bytes that go with each record
    with readable(stream, name) as text:
        for records in text_records(
            text,
            max_rows=max(1, min(settings.rows_per_transaction, settings.bytes_per_transaction * 8 // with_each)),
            max_bytes=settings.bytes_per_transaction,
            quoted=is_csv,
            skip=int(is_csv),
        ):
            shares = [
                Share(topics[source], pc.add(rows, records.first), records.payloads.take(rows))
                for source, rows in split_rows(takers, records.payloads, columns).items()
                if len(rows)
            ]
            yield Chunk(records.first, records.end, records.last, shares, header)


def avro_chunks(
    stream: IO[bytes], name: str, source: Source, settings: RouterSettings, schema_id: SchemaId
) -> Iterator[Chunk]:
    """The chunks of an Avro container. Its schema is registered before the first."""
    with readable(stream, name) as content:
        feed = Feed(content)
        header = read_header(feed)
        try:
            schema = checked_schema(header.schema)
        except SchemaRefused as error:
            raise ContainerUnreadable(
                f"The file's Avro schema is refused: {error}.", remedy="Write the file with a plain record schema."
            ) from None
        frame = b"\0" + schema_id(str(source.topic), header.schema).to_bytes(4, "big")
        first = 0
        for records, last in with_last(bounded(read_records(feed, header, schema), settings)):
            count = len(records)
            numbers = pa.array(np.arange(first, first + count), pa.int64())
            payloads = pc.binary_join_element_wise(pa.scalar(frame), records.bodies, pa.scalar(b""))
            if records.damaged:
                raw = {row: each.raw for row, each in records.damaged.items()}
                payloads = pa.array([raw.get(row, each) for row, each in enumerate(payloads.to_pylist())], pa.binary())
            shares = [Share(str(source.topic), numbers, payloads)] if count else []
            yield Chunk(first, first + count, last, shares)
            first += count


def bounded(groups: Iterator[AvroRecords], settings: RouterSettings) -> Iterator[AvroRecords]:
    """The same records, as many at once as a transaction holds. At least one group, perhaps of none."""
    held = AvroRecords.none()
    for group in groups:
        left = group
        while len(left):
            typical = max(1, left.size // len(left))
            room = min(
                settings.rows_per_transaction - len(held), (settings.bytes_per_transaction - held.size) // typical
            )
            if room <= 0 and len(held):
                yield held
                held = AvroRecords.none()
                continue
            taken = max(1, room)
            held, left = held.with_more(left.part(0, taken)), left.part(min(taken, len(left)), len(left))
    yield held


def with_last(items: Iterator[Item]) -> Iterator[tuple[Item, bool]]:
    """Each item, and whether it is the last."""
    before = next(items, None)
    for item in items:
        yield before, False  # type: ignore[misc]
        before = item
    if before is not None:
        yield before, True


def behind(chunk: Chunk, row: int) -> Chunk:
    """The chunk without the rows before `row`."""
    if chunk.first >= row:
        return chunk
    shares = [kept(share, pc.greater_equal(share.numbers, row)) for share in chunk.shares]
    return Chunk(row, max(row, chunk.end), chunk.last, shares, chunk.header)


def without_large(chunk: Chunk, largest: int) -> Chunk:
    """The chunk without the rows that no message takes, which are named."""
    room = largest - ENVELOPE - len(chunk.header or b"")
    shares, unsent = [], []
    for share in chunk.shares:
        sizes = pc.fill_null(pc.binary_length(share.payloads), 0)
        fits = pc.less_equal(sizes, min(room, LONGEST_RECORD))
        large: Any = pc.invert(fits)
        for number, size in zip(share.numbers.filter(large).to_pylist(), sizes.filter(large).to_pylist(), strict=True):
            unsent.append(Unsent(number, told(size, room)))
        shares.append(kept(share, fits))
    return Chunk(chunk.first, chunk.end, chunk.last, shares, chunk.header, unsent)


def told(size: int, room: int) -> str:
    """Why a row is not sent."""
    if size > LONGEST_RECORD:
        return f"it is longer than {LONGEST_RECORD >> 20} MiB"
    return f"its {size:,} bytes are more than the {max(0, room):,} that a message to this topic holds"


def kept(share: Share, mask: pa.BooleanArray) -> Share:
    return Share(share.topic, share.numbers.filter(mask), share.payloads.filter(mask))
