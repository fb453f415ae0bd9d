"""A file's batches as bronze rows of each table it feeds.

Belongs here: opening by kind (text, CSV with its header, Avro container), the landing columns of a file's rows.
Not here: unpacking (packed.py), where records end (records.py), committing (landing.py).

A rejected CSV record keeps its file's header in `_headers`, under `csv.header`: without it a replay could not tell
what the record's values are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.files.packed import BROKEN, unpacked
from ad_lakehouse.files.records import BLOCK, LONGEST_RECORD, Records, first_record, text_records
from ad_lakehouse.settings import Settings
from kafka_sinks.batch import HEADERS
from kafka_sinks.csv_headers import CSV_HEADER
from kafka_sinks.decode import decode_split, parse_header
from kafka_sinks.decode.avro_files import ContainerRows, decode_avro_container
from kafka_sinks.origin import batch_id, bronze_rows, origins, rejected
from kafka_sinks.schemas import TIMESTAMP
from kafka_sinks.sources import Source, bronze_schema

UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class FileBroken(LakehouseError):
    """A file can't be read to its end: a cut gzip, a text that is not UTF-8 throughout."""


@dataclass(frozen=True)
class FileOrigin:
    """One file as it is landed: its name below the folder, its content, its own time, when and from where we land."""

    name: str
    sha256: str
    modified: datetime
    landed_at: datetime
    from_row: int
    takers: tuple[str, ...] = ()  # all sources that share the file now


@dataclass(frozen=True)
class Part:
    """Rows of one table out of one batch of a file, which ends before its record `end`.

    `numbers` are the rows' places in the file; `raw` gives the bytes of marked rows.
    """

    source: Source
    rows: pa.Table
    numbers: pa.Int64Array
    raw: Callable[[pa.BooleanArray], pa.BinaryArray]
    batch: str
    end: int
    last: bool

    def records_from(self, row: int) -> int:
        """Records of this part at or behind a row of the file, as counted before decoding."""
        return int(np.count_nonzero(self.numbers.to_numpy() >= row))


def check_whole(stream: IO[bytes], name: str) -> None:
    """Reads a packed file to its end, so that a cut one lands nothing. Raises `FileBroken`."""
    with readable(stream, name) as text:
        if text is not stream:
            while text.read(BLOCK):
                pass


@contextmanager
def readable(stream: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """The file's content from its beginning, unpacked. What breaks while it is read raises `FileBroken`."""
    stream.seek(0)
    try:
        yield unpacked(stream, name)
    except BROKEN as error:
        raise FileBroken(f"{name}: {str(error).rstrip('.')}.", remedy="Put the whole file there again.") from None


def check_encoding(stream: IO[bytes], name: str) -> None:
    """Raises `FileBroken` for UTF-16: its lines can't be told apart as bytes, and none of them is a record of ours."""
    with readable(stream, name) as text:
        if text.read(2) in UTF_16:
            raise FileBroken(f"{name}: the text is UTF-16.", remedy="Save it as UTF-8, and put it there again.")


def read_parts(
    stream: IO[bytes], takers: Sequence[Source], origin: FileOrigin, settings: Settings
) -> Iterator[list[Part]]:
    """The batches of a file from row `origin.from_row` on (and perhaps some before it): a part for each source.

    Raises `FileBroken`, `HeaderUnfit` or `ContainerUnreadable`.
    """
    if takers[0].wire == "avro":
        yield from container_parts(stream, takers[0], origin, settings)
        return
    limits = settings.landing
    is_csv = takers[0].wire == "csv"
    check_encoding(stream, origin.name)
    header = b""
    if is_csv:
        with readable(stream, origin.name) as text:
            header = first_record(text)
        if header:
            parse_header(header)  # also of a file without rows: lines that end otherwise than we know are one header
    with readable(stream, origin.name) as text:
        for records in text_records(
            text, max_rows=limits.max_batch_rows, max_bytes=limits.max_batch_bytes, quoted=is_csv, skip=int(is_csv)
        ):
            if records.end > origin.from_row or records.last:
                yield text_parts(records, takers, origin, settings, header)


def container_parts(stream: IO[bytes], source: Source, origin: FileOrigin, settings: Settings) -> Iterator[list[Part]]:
    """The batches of an Avro container."""

    def told_apart(numbers: pa.Int64Array) -> pa.StringArray:
        return origins(origin.name, None, numbers, repeated(origin.modified, len(numbers)))

    with readable(stream, origin.name) as content:
        for batch in decode_avro_container(
            source,
            content,
            origin.landed_at if source.dimension else origin.modified,
            limits=settings.landing,
            origins=told_apart if source.without_id == "keep" else None,
        ):
            if batch.end > origin.from_row or batch.last:
                numbers = pa.array(np.arange(batch.first, batch.end), pa.int64())
                yield [part_of(source, batch.rows, numbers, batch.raw, origin, batch)]


def text_parts(
    records: Records, takers: Sequence[Source], origin: FileOrigin, settings: Settings, header: bytes
) -> list[Part]:
    """One batch of a text file, decoded for each source that takes the file."""
    count = len(records.payloads)
    numbers = pa.array(np.arange(records.first, records.end), pa.int64())
    if not count:  # it still tells how far the file is
        nothing = [(source, bronze_schema(source).empty_table()) for source in takers]
        return [part_of(source, rows, numbers, constant(records.payloads), origin, records) for source, rows in nothing]
    modified = repeated(origin.modified, count)
    keep = any(source.without_id == "keep" for source in takers)
    decoded = decode_split(
        takers,
        records.payloads,
        repeated(origin.landed_at, count) if takers[0].dimension else modified,
        limits=settings.landing,
        origins=origins(origin.name, None, numbers, modified) if keep else None,
        header=parse_header(header) if header else None,
    )
    parts = []
    for source in takers:
        mine, rows = decoded[source.name]
        payloads = records.payloads.take(mine)
        rows = reject_cut(rows, payloads)
        parts.append(part_of(source, rows, numbers.take(mine), constant(payloads), origin, records, header))
    return parts


def reject_cut(rows: pa.Table, payloads: pa.BinaryArray) -> pa.Table:
    """Decoded rows of a text file, rejected where only the beginning of a record is there: it may be a record too."""
    cut = pc.fill_null(pc.greater(pc.binary_length(payloads), LONGEST_RECORD), False)
    if not pc.any(cut).as_py():
        return rows
    words = f"the record is longer than {LONGEST_RECORD >> 20} MiB; its beginning is kept"
    return rejected(rows, cut, "too_large", words, payloads)


def constant(payloads: pa.BinaryArray) -> Callable[[pa.BooleanArray], pa.BinaryArray]:
    """`raw` of a part whose bytes are at hand."""
    return lambda _: payloads


def part_of(
    source: Source,
    decoded: pa.Table,
    numbers: pa.Int64Array,
    raw: Callable[[pa.BooleanArray], pa.BinaryArray],
    origin: FileOrigin,
    batch: Records | ContainerRows,
    header: bytes = b"",
) -> Part:
    """Decoded rows with their landing columns, as the part of one source."""
    identity = batch_id(origin.landed_at, uuid4())
    rows = bronze_rows(
        bronze_schema(source),
        decoded,
        _file=origin.name,
        _row=numbers,
        _timestamp=origin.modified,
        _headers=header_of_rejected(decoded, header),
        _landed_at=origin.landed_at,
        _batch=identity,
    )
    return Part(source, rows, numbers, raw, identity, batch.end, batch.last)


def repeated(moment: datetime, count: int) -> pa.TimestampArray:
    return pa.repeat(pa.scalar(moment, TIMESTAMP), count)


def header_of_rejected(rows: pa.Table, header: bytes) -> pa.Array | None:
    """The header beside each rejected record; None for a file without one."""
    if not header:
        return None
    kept = pa.scalar([{"key": CSV_HEADER, "value": header}], HEADERS)
    return pc.if_else(pc.is_valid(rows["_reason"]), kept, pa.scalar(None, HEADERS))
