"""Avro payloads of a topic: Confluent's framing (0, schema id in 4 bytes, record), or a container of one record.

Belongs here: framing, grouping records by writer. Not here: decoding them (avro_records.py), schemas (registry.py,
avro_schema.py).

A container of one record is what a rejected record of a file is kept as, so that it can be decoded again.
"""

import io
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_binary import container_header, zigzag
from kafka_sinks.decode.avro_blocks import MAGIC as CONTAINER
from kafka_sinks.decode.avro_blocks import BlockBroken, ContainerUnreadable, Feed, read_blocks, read_header
from kafka_sinks.decode.avro_columns import merged
from kafka_sinks.decode.avro_records import decode_bodies
from kafka_sinks.decode.avro_schema import SchemaRefused, checked_schema
from kafka_sinks.decode.columns import Typed, octet
from kafka_sinks.decode.registry import SchemaRegistry
from kafka_sinks.decode.registry_api import RegistryUnavailable
from kafka_sinks.decode.verdicts import Rows, Verdicts, rows_of
from kafka_sinks.sources import Source

FRAME = 5


def decode_framed(
    source: Source, payloads: pa.BinaryArray, verdicts: Verdicts, registry: SchemaRegistry | None
) -> Typed:
    """The source's fields, with the faults invalid_avro, not_a_record, unknown_schema and empty. Raises
    `RegistryUnavailable`.
    """
    lengths = pc.fill_null(pc.binary_length(payloads), 0).to_numpy()
    empty = lengths == 0
    verdicts.reject(rows_of(empty), "empty", "the record has no payload")
    framed = (lengths >= FRAME) & (octet(payloads, 0) == 0)
    contained = octet(payloads, 0) == CONTAINER[0]
    for place in range(1, len(CONTAINER)):
        contained &= octet(payloads, place) == CONTAINER[place]
    bad = rows_of(~framed & ~empty & ~contained)
    verdicts.reject(bad, "invalid_avro", "no magic byte 0 and schema id at the beginning (Confluent's framing)")
    ids = np.zeros(len(payloads), dtype=np.int64)
    for place in range(1, FRAME):
        ids = ids * 256 + octet(payloads, place)
    parts = _decode_containers(source, payloads, rows_of(contained), verdicts)
    for schema_id in np.unique(ids[framed]).tolist():
        rows = rows_of(framed & (ids == schema_id))
        schema = _writer(schema_id, rows, verdicts, registry)
        if schema is not None:
            some = payloads if len(rows) == len(payloads) else payloads.take(pa.array(rows))
            parts += decode_bodies(source, schema, some, FRAME, rows, verdicts)
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


def _decode_containers(
    source: Source, payloads: pa.BinaryArray, rows: Rows, verdicts: Verdicts
) -> list[tuple[Rows, Typed]]:
    """Payloads that are containers of one record each, by their writers' schemas."""
    by_schema: dict[str, tuple[list[int], list[bytes]]] = {}
    for row in rows.tolist():
        feed = Feed(io.BytesIO(payloads[row].as_py()))
        try:
            header = read_header(feed)
            blocks = list(read_blocks(feed, header))
            if len(blocks) != 1 or blocks[0].count != 1 or blocks[0].error or header.codec != "null":
                raise BlockBroken("a container payload must hold one record")
        except (ContainerUnreadable, BlockBroken) as error:
            verdicts.reject(np.array([row]), "invalid_avro", str(error)[:200])
            continue
        found, bodies = by_schema.setdefault(header.schema, ([], []))
        found.append(row)
        bodies.append(blocks[0].data)
    parts = []
    for text, (found, bodies) in by_schema.items():
        numbers = np.array(found, dtype=np.int64)
        try:
            schema = checked_schema(text)
        except SchemaRefused as error:
            verdicts.reject(numbers, "invalid_avro", str(error))
            continue
        parts += decode_bodies(source, schema, pa.array(bodies, pa.binary()), 0, numbers, verdicts)
    return parts


def containers_of(schema: dict[str, Any]) -> Callable[[bytes], bytes]:
    """What makes a container of one record."""
    sync = secrets.token_bytes(16)
    head = container_header(schema, sync)  # once: a schema may be a megabyte
    return lambda body: b"".join([head, zigzag(1), zigzag(len(body)), body, sync])
