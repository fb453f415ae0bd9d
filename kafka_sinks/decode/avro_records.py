"""Avro records of one writer to the fields of a source.

Belongs here: which records are whole, which way they are read. Not here: framing (avro_framing.py), the ways
(avro_arrays.py, avro_bulk.py), the writer's columns to ours (avro_columns.py), container files (avro_files.py).
"""

import io
from collections.abc import Iterator
from typing import Any

import duckdb
import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_arrays import Arrays, is_flat
from kafka_sinks.decode.avro_as_json import AsJson
from kafka_sinks.decode.avro_columns import from_writer
from kafka_sinks.decode.avro_schema import in_bulk
from kafka_sinks.decode.avro_unfold import LARGEST_TEXT, Unfolding, unfolding
from kafka_sinks.decode.avro_walk import walk_records
from kafka_sinks.decode.columns import Typed, bounds, present
from kafka_sinks.decode.fields import typed_fields
from kafka_sinks.decode.json_records import extract_json
from kafka_sinks.decode.verdicts import Rows, Verdicts, rows_of
from kafka_sinks.sources import Source

FARTHEST = 1 << 30  # without a stop, Arrow's binary_slice counts a negative size
READ_ERRORS = (EOFError, ValueError, IndexError, OverflowError, MemoryError, TypeError, ArithmeticError)
NOT_WHOLE = "the bytes are no record of their schema"
TOO_MUCH = f"with others of its batch it becomes more than {2 * LARGEST_TEXT >> 20} MiB of text; a replay may take it"


def decode_bodies(
    source: Source, schema: dict[str, Any], payloads: pa.BinaryArray, frame: int, rows: Rows, verdicts: Verdicts
) -> list[tuple[Rows, Typed]]:
    """The fields of records behind `frame` bytes, all of one writer; `rows` are their numbers in the batch."""
    offsets, octets = bounds(payloads)
    begins, ends = offsets[:-1] + frame, offsets[1:]
    flat = is_flat(schema)
    walk = walk_records(schema, begins, ends, octets, keep=flat)
    bad, long = walk.bad, walk.long
    bulk = in_bulk(schema)
    if bulk and long.any():
        fast = fastavro.parse_schema(schema)
        bad[[row for row in rows_of(long).tolist() if read_one(fast, payloads[row].as_py()[frame:]) is None]] = True
    verdicts.reject(rows[bad], "invalid_avro", NOT_WHOLE)
    sizes = (ends - begins).astype(np.int64)
    unfolding = unfolding_of_unknown(source, schema)
    vast = ~bad & (unfolding.of(sizes) > LARGEST_TEXT)
    verdicts.reject(rows[vast], "too_large", f"it may become more than {LARGEST_TEXT >> 20} MiB of text")
    good = rows_of(~bad & ~vast)
    parts: list[tuple[Rows, Typed]] = []
    texts = 0
    for run in unfolding.runs(good, sizes[good]):
        left = run
        records = Arrays(walk, octets, run).records(schema) if flat and not long.any() else None
        if records is not None:
            found = _typed(source, run, records)
        else:
            found = (_read_good if bulk else _read_singly)(source, schema, _bodies(payloads, frame), run)
        for some, typed, part in found:
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


def _bodies(payloads: pa.BinaryArray, frame: int) -> pa.BinaryArray:
    return pc.binary_slice(payloads, frame, FARTHEST) if frame else payloads


def _read_good(
    source: Source, schema: dict[str, Any], bodies: pa.BinaryArray, good: Rows
) -> Iterator[tuple[Rows, Typed, Verdicts]]:
    """The fields of records found whole, with their numbers and verdicts; without those the bulk reader refuses."""
    from kafka_sinks.decode.avro_bulk import read_in_bulk  # Polars takes 70 MB, and few need it

    for some, records in read_in_bulk(schema, bodies, good):
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
