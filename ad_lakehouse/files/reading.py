"""A file's batches as bronze rows of each table it feeds.

Belongs here: opening by kind (text, CSV with its header, Avro container, gzip), the landing columns of a file's rows.
Not here: where records end (records.py), committing (landing.py).

A rejected CSV record keeps its file's header in `_headers`, under `csv.header`: without it a replay could not tell
what the record's values are.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, cast
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.files.records import BLOCK, Records, first_record, text_records
from ad_lakehouse.settings import Settings
from kafka_sinks.consume import HEADERS
from kafka_sinks.decode import decode_split, parse_header
from kafka_sinks.origin import batch_id, bronze_rows, origins
from kafka_sinks.sources import Source, bronze_schema

TIMESTAMP = pa.timestamp("us", "UTC")
CSV_HEADER = "csv.header"  # the key in _headers of a rejected CSV record


class FileBroken(LakehouseError):
    """A file can't be read to its end: a cut gzip, a container that is none."""


@dataclass(frozen=True)
class FileOrigin:
    """One file as it is landed: its name below the folder, its content, its own time, when and from where we land."""

    name: str
    sha256: str
    modified: datetime
    landed_at: datetime
    from_row: int


@dataclass(frozen=True)
class Part:
    """Rows of one table out of one batch of a file: of its records `first` up to, not including, `end`."""

    source: Source
    rows: pa.Table
    payloads: pa.BinaryArray
    numbers: pa.Int64Array
    batch: str
    end: int
    last: bool

    def records_from(self, row: int) -> int:
        """Records of this part at or behind a row of the file, as counted before decoding."""
        return int(np.count_nonzero(self.numbers.to_numpy() >= row))


def check_whole(stream: IO[bytes], name: str) -> None:
    """Reads a gzip file to its end, so that a cut one lands nothing. Raises `FileBroken`."""
    with readable(stream, name) as text:
        if text is not stream:
            while text.read(BLOCK):
                pass


@contextmanager
def readable(stream: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """The file's content from its beginning, unpacked. What breaks while it is read raises `FileBroken`."""
    stream.seek(0)
    try:
        yield cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if name.endswith(".gz") else stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileBroken(f"{name}: {error}.", remedy="Put the whole file there again.") from None


def read_parts(
    stream: IO[bytes], takers: Sequence[Source], origin: FileOrigin, settings: Settings
) -> Iterator[list[Part]]:
    """The batches of a file from row `origin.from_row` on (and perhaps some before it): a part for each source.

    Raises `FileBroken`.
    """
    limits = settings.landing
    is_csv = takers[0].wire == "csv"
    header = b""
    if is_csv:
        with readable(stream, origin.name) as text:
            header = first_record(text)
    with readable(stream, origin.name) as text:
        for records in text_records(
            text, max_rows=limits.max_batch_rows, max_bytes=limits.max_batch_bytes, quoted=is_csv, skip=int(is_csv)
        ):
            if records.end > origin.from_row or records.last:
                yield parts_of(records, takers, origin, settings, header)


def parts_of(
    records: Records, takers: Sequence[Source], origin: FileOrigin, settings: Settings, header: bytes
) -> list[Part]:
    """One batch decoded for each source that takes the file."""
    count = len(records.payloads)
    if not count:
        return [empty_part(source, records, batch_id(origin.landed_at, uuid4())) for source in takers]
    keep = any(source.without_id == "keep" for source in takers)
    modified = pa.repeat(pa.scalar(origin.modified, TIMESTAMP), count)
    landed = pa.repeat(pa.scalar(origin.landed_at, TIMESTAMP), count)
    numbers = pa.array(np.arange(records.first, records.end), pa.int64())
    decoded = decode_split(
        takers,
        records.payloads,
        landed if takers[0].dimension else modified,
        limits=settings.landing,
        origins=origins(origin.name, None, numbers, modified) if keep else None,
        header=parse_header(header) if header else None,
    )
    parts = []
    for source in takers:
        mine, rows = decoded[source.name]
        identity = batch_id(origin.landed_at, uuid4())
        bronze = bronze_rows(
            bronze_schema(source),
            rows,
            _file=origin.name,
            _row=numbers.take(mine),
            _timestamp=modified.take(mine),
            _headers=header_of_rejected(rows, header),
            _landed_at=origin.landed_at,
            _batch=identity,
        )
        parts.append(
            Part(source, bronze, records.payloads.take(mine), numbers.take(mine), identity, records.end, records.last)
        )
    return parts


def empty_part(source: Source, records: Records, identity: str) -> Part:
    """The part of a batch without records: it still tells how far the file is."""
    rows, none = bronze_schema(source).empty_table(), pa.array([], pa.int64())
    return Part(source, rows, records.payloads, none, identity, records.end, records.last)


def header_of_rejected(rows: pa.Table, header: bytes) -> pa.Array | None:
    """The header beside each rejected record; None for a file without one."""
    if not header:
        return None
    kept = pa.scalar([{"key": CSV_HEADER, "value": header}], HEADERS)
    return pc.if_else(pc.is_valid(rows["_reason"]), kept, pa.scalar(None, HEADERS))
