"""Arrow columns as the decoders handle them: one array a field, row for row with the payloads.

Belongs here: what a format's decoder gives, access to bytes without copying, UTF-8. Not here: types (values.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.verdicts import Mask, Rows

Octets = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Column:
    """One field of all records, null where a record does not have it.

    `values` are texts to be typed, or values that have a type already (Avro). `kinds`, for JSON only: the first
    character of each value as it stood in the record (a quote for a string), 0 where there is none.
    """

    values: pa.Array
    kinds: Octets | None = None


@dataclass(frozen=True)
class Extracted:
    """What a format's decoder found: a column for each field of the schema, and what no field takes, as JSON."""

    columns: dict[str, Column]
    rescued: pa.StringArray


@dataclass(frozen=True)
class Typed:
    """The fields of the schema in their types, and the unknown fields as JSON."""

    columns: dict[str, pa.Array]
    rescued: pa.StringArray


def present(values: pa.Array) -> Mask:
    """Where an array is not null."""
    if values.null_count == 0:
        return np.ones(len(values), dtype=np.bool_)
    mask: Mask = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return mask


def blank(values: pa.Array, rows: Mask) -> pa.Array:
    """The array with nulls in the marked rows; a text that is taken away leaves no bytes behind."""
    there = present(values)
    kept = there & ~rows
    if not (there & rows).any():
        return values
    if not kept.any():
        return pa.nulls(len(values), values.type)
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        return _only(values, kept)
    return pc.if_else(pa.array(kept), values, pa.scalar(None, values.type))


def _only(values: pa.Array, rows: Mask) -> pa.Array:
    """The texts or bytes of the marked rows, nulls in all others; Arrow's `if_else` keeps the bytes under a null."""
    kept = values.filter(pa.array(rows))
    places, _ = bounds(values)
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.where(rows, np.diff(places), 0), out=ends[1:])
    return pa.Array.from_buffers(
        values.type, len(values), [pa.array(rows).buffers()[1], pa.py_buffer(ends), kept.buffers()[2]]
    )


def one_array(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks or [pa.array([], values.type)])


def bounds(values: pa.Array) -> tuple[Rows, Octets]:
    """Offsets (one more than rows) and bytes of a binary or string array."""
    wide = pa.types.is_large_binary(values.type) or pa.types.is_large_string(values.type)
    _, offsets, data = values.buffers()
    if offsets is None or not len(values):
        return np.zeros(len(values) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    all_places: Rows = np.frombuffer(offsets, dtype=np.int64 if wide else np.int32)
    places = all_places[values.offset : values.offset + len(values) + 1]
    octets = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return places, octets


def octet(values: pa.Array, place: int) -> Octets:
    """The byte at `place` of each value (from its end when negative), 0 where there is none."""
    offsets, octets = bounds(values)
    at = offsets[:-1] + place if place >= 0 else offsets[1:] + place
    inside = (at >= offsets[:-1]) & (at < offsets[1:])
    if not len(octets):
        return np.zeros(len(values), dtype=np.uint8)
    found: Octets = np.where(inside, octets[np.where(inside, at, 0)], 0).astype(np.uint8, copy=False)
    return found


def replace(values: pa.Array, rows: Rows, new: pa.Array) -> pa.Array:
    """The array with the values of some rows (by number, ascending) replaced."""
    if not len(rows):
        return values
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(values, pa.array(mask), new.cast(values.type))


def utf8(values: pa.Array) -> pa.Array:
    """Bytes as text, null where they are not valid UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        pass
    offsets, octets = bounds(values)
    high = np.concatenate([[0], np.cumsum(octets >= 0x80)])
    suspicious = rows_above_ascii(high, offsets)
    bad = [row for row in suspicious.tolist() if not is_utf8(values[row].as_py())]
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[bad] = True
    return blank(values, mask).cast(pa.string())


def rows_above_ascii(high: Rows, offsets: Rows) -> Rows:
    return np.flatnonzero(high[offsets[1:]] > high[offsets[:-1]])


def is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"TimeZone": "UTC", "autoinstall_known_extensions": "false"})


def query(sql: str, **columns: pa.Array) -> pa.Table:
    """Runs SQL over a table `t` of columns of equal length and their row number `o`; gives rows in that order."""
    count = len(next(iter(columns.values())))
    whole = pa.table({"o": pa.array(np.arange(count)), **columns})
    cursor = _engine().cursor()
    try:
        cursor.register("t", whole)  # one thread takes it whole: parts of several would have to be copied together
        found = cursor.sql(sql).to_arrow_table()
    except UnicodeDecodeError:  # DuckDB cuts the value that its error quotes, also amid a character
        raise duckdb.InvalidInputException("a value was refused") from None
    finally:
        cursor.close()
    order = one_array(found["o"]).to_numpy()
    return found if (order[:-1] < order[1:]).all() else found.sort_by("o")


def on_rows(rows: Rows, values: pa.Array, function: Callable[[pa.Array], pa.Array], to: pa.DataType) -> pa.Array:
    """`function` of the values of some rows, nulls in all others."""
    if not len(rows):
        return pa.nulls(len(values), to)
    found = function(values.take(pa.array(rows)))
    places = np.zeros(len(values), dtype=np.int64)
    places[rows] = np.arange(len(rows))
    mask = np.ones(len(values), dtype=np.bool_)
    mask[rows] = False
    return found.take(pa.array(places, mask=mask)).cast(to)
