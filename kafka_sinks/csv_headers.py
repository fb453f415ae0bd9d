"""CSV records of a topic that bring the header line of their file: in the message header `csv.header`.

Belongs here: decoding a batch in which some do. Not here: CSV itself (decode/csv_records.py), who sends them
(ad_lakehouse/files/router).

A record without it has one of the headers that its source states, told apart by the number of columns. One that was
routed out of a file says what its columns are, so it means on the topic what it meant in the file, and a record with
too few columns is not taken for a shorter form. The line is the producer's word: what can't be read as a header rejects
the records that bear it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.settings import LandingSettings
from kafka_sinks.decode import HeaderUnfit, SchemaRegistry, decode_batch, parse_header
from kafka_sinks.decode.columns import replace
from kafka_sinks.origin import rejected
from kafka_sinks.sources import Source

CSV_HEADER = "csv.header"  # the key, in a message's headers and in `_headers` of a row
MOST_HEADERS = 256  # different ones in a batch: each is a decoding of its own

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Group:
    """Records of a batch with one header: its columns, None for those the source states; or what is wrong with it."""

    rows: Rows
    header: tuple[str, ...] | None
    error: str = ""


def decode_with_headers(
    source: Source,
    payloads: pa.BinaryArray,
    times: pa.TimestampArray,
    headers: pa.ListArray,
    *,
    limits: LandingSettings,
    registry: SchemaRegistry | None = None,
    origins: pa.StringArray | None = None,
) -> pa.Table:
    """As `decode_batch`; `headers` are those of the messages. Raises `RegistryUnavailable`."""
    lines = header_lines(headers) if source.wire == "csv" else None
    if lines is None:
        return decode_batch(source, payloads, times, limits=limits, registry=registry, origins=origins)
    parts, order = [], []
    for group in grouped(lines):
        places = pa.array(group.rows)
        taken: Callable[[pa.Array], pa.Array] = lambda column, at=places: column.take(at)  # type: ignore[misc]  # noqa: E731
        some = taken(payloads)
        told_apart = None if origins is None else taken(origins)
        decoded = decode_batch(source, some, taken(times), limits=limits, origins=told_apart, header=group.header)
        if group.error:
            every = pa.array(np.ones(len(some), dtype=np.bool_))
            decoded = rejected(decoded, every, "invalid_csv", group.error, some)
        parts.append(decoded)
        order.append(group.rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return pa.concat_tables(parts).combine_chunks().take(pa.array(back))


def header_lines(headers: pa.ListArray) -> pa.BinaryArray | None:
    """The header line that each message brings, null where it brings none; None when no message does."""
    if headers.null_count == len(headers):
        return None
    entries = headers.flatten()
    ours = np.flatnonzero(pc.fill_null(pc.equal(pc.struct_field(entries, "key"), CSV_HEADER), False).to_numpy(False))
    if not len(ours):
        return None
    messages, first = np.unique(pc.list_parent_indices(headers).to_numpy()[ours], return_index=True)
    values = pc.struct_field(entries, "value").take(pa.array(ours[first]))
    return replace(pa.nulls(len(headers), pa.binary()), messages.astype(np.int64), pc.fill_null(values, b""))


def grouped(lines: pa.BinaryArray) -> Iterator[Group]:
    """The records by their header line."""
    codes = lines.dictionary_encode()
    indices = pc.fill_null(codes.indices, -1).to_numpy()
    if (indices < 0).any():
        yield Group(np.flatnonzero(indices < 0), None)
    for number, line in enumerate(codes.dictionary[:MOST_HEADERS].to_pylist()):
        rows = np.flatnonzero(indices == number)
        try:
            yield Group(rows, parse_header(line))
        except HeaderUnfit as error:
            yield Group(rows, None, f"{CSV_HEADER}: {error.message}")
    more = np.flatnonzero(indices >= MOST_HEADERS)
    if len(more):
        yield Group(more, None, f"{CSV_HEADER}: more than {MOST_HEADERS} different ones in a batch")
