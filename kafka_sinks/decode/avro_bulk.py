"""Avro records of any schema without real unions, read in bulk by Polars.

Belongs here: one reader of many records, and what it refuses. Not here: which records are given to it
(avro_records.py), flat ones, which are read at a fraction of the cost (avro_arrays.py).

The records of one writer schema are joined behind one container header and read at once. Nothing in Avro says where
a record ends, so one that is too short or too long would shift all behind it: the reader's schema therefore wraps
each record with eight guard bytes, random for each batch, which must be there after each. Records that are not whole
are found before (avro_walk.py); the guard holds should the two ever disagree.
"""

import io
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import polars_avro
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_binary import container_header, zigzag
from kafka_sinks.decode.avro_walk import walk_records
from kafka_sinks.decode.columns import bounds, is_utf8
from kafka_sinks.decode.verdicts import Mask, Rows

GUARD = 8


def read_in_bulk(schema: dict[str, Any], bodies: pa.BinaryArray, good: Rows) -> Iterator[tuple[Rows, pa.StructArray]]:
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
    met = walk_records(schema, offsets[:-1], offsets[1:], octets, keep=True).met or {}
    for rows, at, size in ((m.rows, m.at, m.read) for each in met.values() for m in each if m.kind == "string"):
        for place in np.flatnonzero(high[at + size] > high[at]).tolist():
            if not is_utf8(octets[at[place] : at[place] + size[place]].tobytes()):
                valid[rows[place]] = False
    return valid


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
