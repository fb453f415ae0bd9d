"""Blocks of an Avro container into records.

Belongs here: where records end, damaged blocks in their place. Not here: blocks and codecs (avro_blocks.py), rows
(avro_files.py).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import fastavro
import numpy as np
import pyarrow as pa

from kafka_sinks.decode.avro_blocks import (
    SYNC,
    Block,
    BlockBroken,
    BlockTooLarge,
    Feed,
    Header,
    packed_block,
    read_blocks,
    unpacked,
)
from kafka_sinks.decode.avro_records import READ_ERRORS
from kafka_sinks.decode.avro_schema import has_empty_items, least_size
from kafka_sinks.decode.avro_walk import cut_blocks
from kafka_sinks.decode.verdicts import Reason, Rows

GROUP_BYTES = 8 << 20  # blocks cut at once


@dataclass(frozen=True)
class Damaged:
    """A block that is not read."""

    reason: Reason
    error: str
    raw: bytes


@dataclass(frozen=True)
class Records:
    """Records of a container in their order: `bodies`, null where `damaged` says (by row) what stands there."""

    bodies: pa.BinaryArray
    damaged: dict[int, Damaged]

    @classmethod
    def none(cls) -> Self:
        return cls(pa.array([], pa.binary()), {})

    def __len__(self) -> int:
        return len(self.bodies)

    @property
    def size(self) -> int:
        return int(self.bodies.nbytes) + sum(len(each.raw) for each in self.damaged.values())

    def part(self, begin: int, end: int) -> "Records":
        damaged = {row - begin: each for row, each in self.damaged.items() if begin <= row < end}
        return Records(self.bodies[begin:end], damaged)

    def with_more(self, more: "Records") -> "Records":
        moved = {row + len(self): each for row, each in more.damaged.items()}
        return Records(pa.concat_arrays([self.bodies, more.bodies]), self.damaged | moved)


def read_records(feed: Feed, header: Header, schema: dict[str, Any]) -> Iterator[Records]:
    """The records of all blocks, many blocks at a time."""
    group: list[tuple[Block, bytes | Damaged]] = []
    size = 0
    for block in read_blocks(feed, header):
        content = _content(header, block, schema)
        group.append((block, content))
        # Records without bytes take room too
        size += len(content.raw) if isinstance(content, Damaged) else max(len(content), block.count)
        if size >= GROUP_BYTES:
            yield _cut(header, schema, group)
            group, size = [], 0
    if group:
        yield _cut(header, schema, group)


def _content(header: Header, block: Block, schema: dict[str, Any]) -> bytes | Damaged:
    """The unpacked bytes of a block, when they can hold its records."""
    try:
        if block.error:
            raise BlockBroken(block.error)
        content = unpacked(header.codec, block.data)
        smallest = least_size(schema)
        # Of records without bytes as many as the marker behind them has
        if block.count > (len(content) // smallest if smallest else SYNC):
            raise BlockBroken(f"{block.count} records can't stand in {len(content)} bytes")
    except BlockBroken as error:
        reason: Reason = "too_large" if isinstance(error, BlockTooLarge) else "invalid_avro"
        return Damaged(reason, str(error), packed_block(header, block))
    return content


def _cut(header: Header, schema: dict[str, Any], group: list[tuple[Block, bytes | Damaged]]) -> Records:
    """The records of some blocks."""
    contents = [b"" if isinstance(content, Damaged) else content for _, content in group]
    counts = np.array([0 if isinstance(content, Damaged) else block.count for block, content in group])
    ends = np.cumsum([len(content) for content in contents])
    starts = ends - [len(content) for content in contents]
    whole = b"".join(contents)
    cuts = cut_blocks(schema, starts, ends, counts, np.frombuffer(whole, dtype=np.uint8))
    parsed = fastavro.parse_schema(_as_bytes(schema))
    parts: list[pa.BinaryArray] = []
    damaged: dict[int, Damaged] = {}
    row = 0
    for (block, content), cut, start in zip(group, cuts, starts.tolist(), strict=True):
        found: Damaged | Rows | None = content if isinstance(content, Damaged) else cut
        if found is None:
            try:
                if has_empty_items(schema):
                    raise BlockBroken("its records are not whole, or have lists too long beside items without bytes")
                found = start + _cut_singly(contents[len(parts)], block.count, parsed)
            except BlockBroken as error:
                found = Damaged("invalid_avro", str(error), packed_block(header, block))
        if isinstance(found, Damaged):
            damaged[row] = found
            parts.append(pa.nulls(1, pa.binary()))
        else:
            offsets = np.concatenate([[start], found]).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(whole)]
            parts.append(pa.BinaryArray.from_buffers(pa.binary(), len(found), buffers))
        row += len(parts[-1])
    return Records(pa.concat_arrays(parts), damaged)


def _cut_singly(content: bytes, count: int, parsed: Any) -> Rows:
    """Where the records of a block end, read one by one; raises `BlockBroken` unless they fill it."""
    stream = io.BytesIO(content)
    stops = []
    for number in range(count):
        try:
            fastavro.schemaless_reader(stream, parsed, None)
        except READ_ERRORS as error:
            raise BlockBroken(f"record {number + 1} of the block is not whole: {error}"[:200]) from None
        stops.append(stream.tell())
    if stream.tell() != len(content):
        raise BlockBroken(f"{len(content) - stream.tell()} bytes behind the last record of the block")
    return np.array(stops, dtype=np.int64)


def _as_bytes(schema: Any) -> Any:
    """A schema of the same bytes without dates and texts: where a record ends does not depend on their values."""
    if isinstance(schema, list):
        return [_as_bytes(each) for each in schema]
    if isinstance(schema, str):
        return "bytes" if schema == "string" else schema
    kind = schema["type"]
    if kind == "record":
        return {**schema, "fields": [{**field, "type": _as_bytes(field["type"])} for field in schema["fields"]]}
    if kind in ("enum", "fixed"):
        return {name: schema[name] for name in ("type", "name", "symbols", "size") if name in schema}
    for inner in ("items", "values"):
        if inner in schema:
            return {"type": kind, inner: _as_bytes(schema[inner])}
    return _as_bytes(kind)
