"""Avro payloads in Confluent's framing (0, schema id in 4 bytes, record) to columns.

Belongs here: framing, grouping by writer schema, decoding in bulk. Not here: schemas (registry.py, avro_schema.py),
the writer's columns to ours (avro_columns.py), container files (avro_files.py).

The records of one writer schema are joined behind one container header and read at once. Nothing in Avro says where
a record ends, so one that is too short or too long would shift all behind it: the reader's schema therefore wraps
each record with eight guard bytes, random for each batch, which must be there after each.
"""

import io
import json
import secrets
from typing import Any

import numpy as np
import polars as pl
import polars_avro
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_columns import from_writer, merged
from kafka_sinks.decode.avro_schema import SchemaRefused, checked_schema
from kafka_sinks.decode.columns import Extracted, bounds, octet
from kafka_sinks.decode.registry import RegistryUnavailable, SchemaRegistry
from kafka_sinks.decode.verdicts import Rows, Verdicts, rows_of
from kafka_sinks.sources import Source

FRAME = 5
GUARD = 8
FARTHEST = 1 << 30  # without a stop, Arrow's binary_slice counts a negative size


def extract_avro(
    source: Source, payloads: pa.BinaryArray, verdicts: Verdicts, registry: SchemaRegistry | None
) -> Extracted:
    """Columns of the source's fields, with the faults invalid_avro, not_a_record, unknown_schema and empty."""
    lengths = pc.fill_null(pc.binary_length(payloads), 0).to_numpy()
    empty = lengths == 0
    verdicts.reject(rows_of(empty), "empty", "the record has no payload")
    framed = (lengths >= FRAME) & (octet(payloads, 0) == 0)
    bad = rows_of(~framed & ~empty)
    verdicts.reject(bad, "invalid_avro", "no magic byte 0 and schema id at the beginning (Confluent's framing)")
    ids = np.zeros(len(payloads), dtype=np.int64)
    for place in range(1, FRAME):
        ids = ids * 256 + octet(payloads, place)
    parts = []
    for schema_id in np.unique(ids[framed]).tolist():
        rows = rows_of(framed & (ids == schema_id))
        schema = _writer(schema_id, rows, verdicts, registry)
        if schema is not None:
            bodies = pc.binary_slice(payloads.take(pa.array(rows)), FRAME, FARTHEST)
            good, records = decode_records(schema, bodies)
            lost = np.setdiff1d(np.arange(len(rows)), good)
            verdicts.reject(rows[lost], "invalid_avro", f"not a record of schema {schema_id}")
            parts.append((rows[good], from_writer(source, records)))
    return merged(source, len(payloads), parts)


def _writer(schema_id: int, rows: Rows, verdicts: Verdicts, registry: SchemaRegistry | None) -> dict[str, Any] | None:
    """The writer's schema; None when there is none we decode with, then its rows are rejected."""
    if registry is None:
        raise RegistryUnavailable(
            "Avro records need their writers' schemas, and no registry is set.",
            remedy="Set AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY to its URL or a folder of <id>.avsc files.",
        )
    text = registry.schema(schema_id)
    if text is None:
        verdicts.reject(rows, "unknown_schema", f"the registry has no schema {schema_id}")
        return None
    try:
        return checked_schema(text)
    except SchemaRefused as error:
        verdicts.reject(rows, "invalid_avro", f"schema {schema_id}: {error}")
        return None


def decode_records(schema: dict[str, Any], bodies: pa.BinaryArray) -> tuple[Rows, pa.StructArray]:
    """Numbers of the records that are whole and valid, and those records in the writer's types."""
    guard = secrets.token_bytes(GUARD)
    outer = {
        "type": "record",
        "name": "Guarded",
        "fields": [
            {"name": "record", "type": schema},
            {"name": "guard", "type": {"type": "fixed", "name": "Guard", "size": GUARD}},
        ],
    }
    header = container_header(outer, guard * 2)
    good: list[Rows] = []
    found: list[pa.StructArray] = []
    todo = [np.arange(len(bodies))]
    while todo:
        rows = todo.pop()
        records = _read(header, bodies.take(pa.array(rows)), guard)
        if records is not None:
            good.append(rows)
            found.append(records)
        elif len(rows) > 1:
            middle = len(rows) // 2
            todo += [rows[middle:], rows[:middle]]
    if not found:
        return np.zeros(0, dtype=np.int64), pa.array([], pa.struct([]))
    return np.concatenate(good), pa.concat_arrays(found)


def _read(header: bytes, bodies: pa.BinaryArray, guard: bytes) -> pa.StructArray | None:
    guarded = pc.binary_join_element_wise(bodies, pa.scalar(guard, pa.binary()), pa.scalar(b"", pa.binary()))
    offsets, octets = bounds(guarded)
    data = octets[offsets[0] : offsets[-1]].tobytes()
    block = b"".join([header, zigzag(len(bodies)), zigzag(len(data)), data, guard * 2])
    try:
        frame = polars_avro.read_avro(io.BytesIO(block), batch_size=max(1, min(len(bodies), 32_768)))
    except (polars_avro.AvroError, polars_avro.AvroSpecError, pl.exceptions.PolarsError):
        return None
    if frame.height != len(bodies):
        return None
    guards = frame["guard"].to_arrow().cast(pa.binary())
    if not pc.all(pc.equal(guards, pa.scalar(guard, pa.binary()))).as_py():
        return None
    return frame["record"].rechunk().to_arrow()


def container_header(schema: dict[str, Any], sync: bytes) -> bytes:
    """The beginning of an uncompressed container file."""
    meta = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": b"null"}
    entries = b"".join(zigzag(len(key)) + key + zigzag(len(value)) + value for key, value in meta.items())
    return b"Obj\x01" + zigzag(len(meta)) + entries + b"\0" + sync


def zigzag(number: int) -> bytes:
    """A non-negative long in Avro's variable length."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
