"""Columns of Avro records from where the walk met their values, without reading the records again.

Belongs here: flat records: numbers, texts, lists of them. Not here: finding the values (avro_walk.py), any other record
(avro_bulk.py), our fields of a writer's columns (avro_columns.py).

A value is taken out of the payloads as they came. For texts the payloads are seen as one Arrow column of turns, a text
and what stands between it and the next one, of which Arrow takes the texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.avro_met import Met, Walk
from kafka_sinks.decode.columns import Octets
from kafka_sinks.decode.verdicts import Rows

LEAVES = {"boolean", "int", "long", "float", "double", "string", "bytes", "enum"}
UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}


def is_flat(schema: Mapping[str, Any]) -> bool:
    """Whether a writer's records hold nothing but leaves, lists of them, and either or null."""
    return bool(schema["fields"]) and all(_is_flat(_without_null(each["type"])) for each in schema["fields"])


def _is_flat(kind: Any) -> bool:
    if isinstance(kind, dict) and kind["type"] == "array":
        return _is_leaf(kind["items"])
    return _is_leaf(kind)


def _is_leaf(kind: Any) -> bool:
    if isinstance(kind, dict):
        return kind["type"] in LEAVES and kind.get("logicalType") != "decimal"
    return isinstance(kind, str) and kind in LEAVES


def _without_null(kind: Any) -> Any:
    if not isinstance(kind, list):
        return kind
    others = [each for each in kind if each != "null"]
    return others[0] if len(others) == 1 else kind


@dataclass(frozen=True)
class _Values:
    """Values of some records: the number of the record among those wanted, and as in `Met`."""

    rows: Rows
    at: Rows
    read: Rows
    place: Rows


class Arrays:
    """Whole records of a walk that kept what it met, one row each."""

    def __init__(self, walk: Walk, octets: Octets, records: Rows) -> None:
        self._walk, self._octets, self._count = walk, octets, len(records)
        self._wanted = np.zeros(len(walk.bad), dtype=np.bool_)
        self._wanted[records] = True
        self._number = np.cumsum(self._wanted) - 1  # of a wanted record among them

    def records(self, schema: Mapping[str, Any]) -> pa.StructArray | None:
        """The records in the writer's types; None when Arrow refuses a value, as a text that is no UTF-8.

        The schema `is_flat`.
        """
        assert self._walk.met is not None  # noqa: S101  # the walk was told to keep
        columns, names = [], []
        try:
            for field in schema["fields"]:
                columns.append(self._column(_without_null(field["type"]), self._walk.met.get(field["name"], [])))
                names.append(field["name"])
        except pa.ArrowInvalid:
            return None
        return pa.StructArray.from_arrays(columns, names)

    def _column(self, kind: Any, met: Sequence[Met]) -> pa.Array:
        if not isinstance(kind, dict) or kind["type"] != "array":
            return self._leaf(kind, self._values(met), self._count)
        blocks = self._values([each for each in met if each.kind == "items"])
        items = self._values([each for each in met if each.kind != "items"])
        count = np.bincount(blocks.rows, blocks.read, self._count).astype(np.int64)  # a list may have several blocks
        ends = np.cumsum(count)
        # The walk met the first item of each record, then the second of each: here they stand record by record
        order = np.zeros(len(items.rows), dtype=np.int64)
        order[(ends - count)[items.rows] + items.place] = np.arange(len(order))
        in_order = _Values(np.arange(len(order)), items.at[order], items.read[order], items.place)
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        there = np.zeros(self._count, dtype=np.bool_)
        there[blocks.rows] = True
        lists = pa.ListArray.from_arrays(offsets, self._leaf(kind["items"], in_order, len(order)))
        return lists if there.all() else pc.if_else(pa.array(there), lists, pa.scalar(None, lists.type))

    def _values(self, met: Sequence[Met]) -> _Values:
        """Those of the wanted records."""
        if not met:
            none = np.zeros(0, dtype=np.int64)
            return _Values(none, none, none, none)
        rows, at, read = (np.concatenate(parts) for parts in zip(*((m.rows, m.at, m.read) for m in met), strict=True))
        place = np.repeat([each.place for each in met], [len(each.rows) for each in met])
        if self._count < len(self._wanted):
            here = self._wanted[rows]
            rows, at, read, place = self._number[rows[here]], at[here], read[here], place[here]
        return _Values(rows, at, read, place)

    def _leaf(self, kind: Any, values: _Values, count: int) -> pa.Array:
        """`count` rows, null where there is no value."""
        name = kind if isinstance(kind, str) else kind["type"]
        if name in ("string", "bytes"):
            return self._texts(values, count).cast(pa.string() if name == "string" else pa.binary())
        if name == "enum":
            symbols = pa.array(kind["symbols"], pa.string())
            return symbols.take(_spread(values.rows, values.read, count))
        if name == "boolean":
            return _spread(values.rows, values.read == 1, count)
        if name == "double":
            return _spread(values.rows, self._walk.words[values.at].view(np.float64), count)
        if name == "float":
            return _spread(values.rows, self._walk.words[values.at].astype(np.uint32).view(np.float32), count)
        numbers = _spread(values.rows, values.read.astype(np.int32 if name == "int" else np.int64), count)
        logical = "" if isinstance(kind, str) else kind.get("logicalType", "")
        if logical == "date":
            return numbers.view(pa.date32())
        if "timestamp-" in logical:
            unit = UNITS[logical.rpartition("-")[2]]
            return numbers.view(pa.timestamp(unit, None if logical.startswith("local-") else "UTC"))
        return numbers

    def _texts(self, values: _Values, count: int) -> pa.BinaryArray:
        turns = np.empty(2 * len(values.at) + 1, dtype=np.int32)
        turns[0:-1:2], turns[1::2] = values.at, values.at + values.read
        turns[-1] = turns[-2] if len(values.at) else 0
        buffers = [None, pa.py_buffer(turns), pa.py_buffer(self._octets)]
        whole = pa.Array.from_buffers(pa.binary(), len(turns) - 1, buffers)
        wanted = np.arange(0, len(turns) - 1, 2, dtype=np.int32)
        return pc.array_take(whole, _spread(values.rows, wanted, count), boundscheck=False)


def _spread(rows: Rows, values: np.ndarray[Any, Any], count: int) -> pa.Array:
    """The values in their rows, nulls in all others."""
    if len(rows) == count:
        return pa.array(values)
    whole = np.zeros(count, dtype=values.dtype)
    absent = np.ones(count, dtype=np.bool_)
    whole[rows], absent[rows] = values, False
    return pa.array(whole, mask=absent)
