"""Avro records of one writer to the fields of a source.

Belongs here: decoding in bulk. Not here: framing (avro_framing.py), the writer's columns to ours (avro_columns.py),
container files (avro_files.py).

The records of one writer schema are joined behind one container header and read at once. Nothing in Avro says where
a record ends, so one that is too short or too long would shift all behind it: the reader's schema therefore wraps
each record with eight guard bytes, random for each batch, which must be there after each. Records that are not whole
are found before (avro_walk.py); the guard holds should the two ever disagree.
"""

import io
import secrets
from collections.abc import Iterator
from typing import Any

import duckdb
import fastavro
import numpy as np
import polars as pl
import polars_avro
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_as_json import AsJson
from kafka_sinks.decode.avro_binary import container_header, zigzag
from kafka_sinks.decode.avro_columns import from_writer
from kafka_sinks.decode.avro_schema import in_bulk
from kafka_sinks.decode.avro_unfold import LARGEST_TEXT, Unfolding, unfolding
from kafka_sinks.decode.avro_walk import walk_records
from kafka_sinks.decode.columns import Typed, bounds, is_utf8, present
from kafka_sinks.decode.fields import typed_fields
from kafka_sinks.decode.json_records import extract_json
from kafka_sinks.decode.verdicts import Mask, Rows, Verdicts, rows_of
from kafka_sinks.sources import Source

READ_ERRORS = (EOFError, ValueError, IndexError, OverflowError, MemoryError, TypeError, ArithmeticError)
GUARD = 8
NOT_WHOLE = "the bytes are no record of their schema"
TOO_MUCH = f"with others of its batch it becomes more than {2 * LARGEST_TEXT >> 20} MiB of text; a replay may take it"


def decode_bodies(
    source: Source, schema: dict[str, Any], bodies: pa.BinaryArray, rows: Rows, verdicts: Verdicts
) -> list[tuple[Rows, Typed]]:
    """The fields of records without frame, all of one writer; `rows` are their numbers in the batch."""
    offsets, octets = bounds(bodies)
    bad, long, _ = walk_records(schema, offsets, octets)
    bulk = in_bulk(schema)
    if bulk and long.any():
        fast = fastavro.parse_schema(schema)
        lost = [row for row in rows_of(long).tolist() if read_one(fast, bodies[row].as_py()) is None]
        bad[lost] = True
    verdicts.reject(rows[bad], "invalid_avro", NOT_WHOLE)
    sizes = np.diff(offsets).astype(np.int64)
    unfolding = unfolding_of_unknown(source, schema)
    vast = ~bad & (unfolding.of(sizes) > LARGEST_TEXT)
    verdicts.reject(rows[vast], "too_large", f"it may become more than {LARGEST_TEXT >> 20} MiB of text")
    good = rows_of(~bad & ~vast)
    read = _read_good if bulk else _read_singly
    parts: list[tuple[Rows, Typed]] = []
    texts = 0
    for run in unfolding.runs(good, sizes[good]):
        left = run
        for some, typed, part in read(source, schema, bodies, run):
            texts += typed.rescued.nbytes
            if texts > 2 * LARGEST_TEXT:
                part.reject(rows_of(present(typed.rescued)), "too_large", TOO_MUCH)
                typed = Typed(typed.columns, pa.nulls(len(some), pa.string()))
            parts.append((rows[some], typed))
            verdicts.reject_as(rows[some], part)
            left = np.setdiff1d(left, some, assume_unique=True) if len(some) < len(left) else left[:0]
        verdicts.reject(rows[left], "invalid_avro", "the record has a value that can't be read")
    return parts


def unfolding_of_unknown(source: Source, schema: dict[str, Any]) -> Unfolding:
    """How much text the fields may become that are not ours; none when all are."""
    names = {path[0] for path in source.paths.values() if len(path) == 1}
    names |= {alias for field in source.fields for alias in field.aliases}
    known = all(field["name"] in names for field in schema["fields"])
    return Unfolding(0, 0) if known and in_bulk(schema) else unfolding(schema)


def _read_good(
    source: Source, schema: dict[str, Any], bodies: pa.BinaryArray, good: Rows
) -> Iterator[tuple[Rows, Typed, Verdicts]]:
    """The fields of records found whole, with their numbers and verdicts; without those the bulk reader refuses."""
    for some, records in _read_in_bulk(schema, bodies, good):
        yield from _typed(source, some, records)


def _typed(source: Source, rows: Rows, records: pa.StructArray) -> Iterator[tuple[Rows, Typed, Verdicts]]:
    """The fields of records; without those that have a value no engine takes, as a time beyond its calendar."""
    part = Verdicts(len(rows))
    try:
        typed = typed_fields(source, from_writer(source, records), part)
    except (duckdb.Error, pa.ArrowException):
        if len(rows) > 1:
            middle = len(rows) // 2
            yield from _typed(source, rows[:middle], records[:middle])
            yield from _typed(source, rows[middle:], records[middle:])
        return
    yield rows, typed, part


def _read_in_bulk(schema: dict[str, Any], bodies: pa.BinaryArray, good: Rows) -> Iterator[tuple[Rows, pa.StructArray]]:
    """Records found whole, in the writer's types, with their numbers; those the bulk reader refuses are left out."""
    guard = secrets.token_bytes(GUARD)
    guarded = {
        "type": "record",
        "name": "Guarded",
        "fields": [
            {"name": "record", "type": schema},
            {"name": "guard", "type": {"type": "fixed", "name": "Guard", "size": GUARD}},
        ],
    }
    header = container_header(guarded, guard * 2)
    if not len(good):
        return
    records = _read(header, bodies if len(good) == len(bodies) else bodies.take(pa.array(good)), guard)
    if records is not None:
        yield good, records
        return
    todo = [good[_with_valid_texts(schema, bodies.take(pa.array(good)))]]
    while todo:
        some = todo.pop()
        records = _read(header, bodies.take(pa.array(some)), guard) if len(some) else None
        if records is not None:
            yield some, records
        elif len(some) > 1:
            middle = len(some) // 2
            todo += [some[middle:], some[:middle]]


def _with_valid_texts(schema: dict[str, Any], bodies: pa.BinaryArray) -> Mask:
    """Which records, all whole, have texts of valid UTF-8 only."""
    offsets, octets = bounds(bodies)
    valid = np.ones(len(bodies), dtype=np.bool_)
    high = np.concatenate([[0], np.cumsum(octets >= 0x80)])
    for rows, begin, length in walk_records(schema, offsets, octets, want_texts=True)[2]:
        for place in np.flatnonzero(high[begin + length] > high[begin]).tolist():
            if not is_utf8(octets[begin[place] : begin[place] + length[place]].tobytes()):
                valid[rows[place]] = False
    return valid


def _read_singly(
    source: Source, schema: dict[str, Any], bodies: pa.BinaryArray, good: Rows
) -> Iterator[tuple[Rows, Typed, Verdicts]]:
    """For schemas the bulk reader does not take: each record by itself, then as if it had been JSON."""
    fast = fastavro.parse_schema(schema)
    records = [read_one(fast, bodies[row].as_py()) for row in good.tolist()]
    json = AsJson.of(source, schema)
    texts = pa.array([None if record is None else json.text(record) for record in records], pa.binary())
    read = rows_of(present(texts))
    part = Verdicts(len(read))
    yield good[read], typed_fields(source, extract_json(source, texts.take(pa.array(read)), part), part), part


def read_one(schema: Any, body: bytes) -> dict[str, Any] | None:
    """One record by fastavro; None unless the bytes are exactly that."""
    stream = io.BytesIO(body)
    try:
        record = fastavro.schemaless_reader(stream, schema, None)
    except READ_ERRORS:
        return None
    return record if stream.tell() == len(body) else None


def _read(header: bytes, bodies: pa.BinaryArray, guard: bytes) -> pa.StructArray | None:
    guarded = pc.binary_join_element_wise(bodies, pa.scalar(guard, pa.binary()), pa.scalar(b"", pa.binary()))
    offsets, octets = bounds(guarded)
    data = octets[offsets[0] : offsets[-1]].tobytes()
    block = b"".join([header, zigzag(len(bodies)), zigzag(len(data)), data, guard * 2])
    try:
        frame = polars_avro.read_avro(io.BytesIO(block), batch_size=max(1, min(len(bodies), 32_768)))
    except (polars_avro.AvroError, polars_avro.AvroSpecError, pl.exceptions.PolarsError):
        return None
    except BaseException as error:  # a panic in Rust derives from nothing nearer
        if type(error).__name__ != "PanicException":
            raise
        return None
    if frame.height != len(bodies):
        return None
    guards = frame["guard"].to_arrow().cast(pa.binary())
    if not pc.all(pc.equal(guards, pa.scalar(guard, pa.binary()))).as_py():
        return None
    return frame["record"].rechunk().to_arrow()
