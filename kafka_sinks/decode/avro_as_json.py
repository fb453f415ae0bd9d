"""An Avro record that the bulk reader does not take, as a JSON record.

Belongs here: its names, and values that JSON does not have. Not here: reading it (avro_records.py), what becomes of
JSON (json_records.py).

What becomes of a field must not depend on what else stands in the writer's schema, so this says what
avro_columns.py and values.py would: aliases count, bytes are UTF-8 or no text, null is no value, NaN no number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from kafka_sinks.sources import Source


@dataclass(frozen=True)
class AsJson:
    """How one writer's records are told. `names`: those it knows by an alias only, and ours for them."""

    names: Mapping[str, str]
    nanoseconds: frozenset[str]  # top-level fields that fastavro gives as plain numbers

    @classmethod
    def of(cls, source: Source, schema: Mapping[str, Any]) -> "AsJson":
        """`schema` is the writer's, expanded (avro_schema.py)."""
        types = {field["name"]: field["type"] for field in schema["fields"]}
        names = {}
        for field in source.fields:
            path = source.paths.get(field.name, ())
            if len(path) == 1 and path[0] not in types:
                alias = next((each for each in field.aliases if each in types), None)
                if alias is not None:
                    names[alias] = path[0]
        return cls(names, frozenset(name for name, kind in types.items() if _is_nanoseconds(kind)))

    def text(self, record: Mapping[str, Any]) -> bytes:
        """The record; top-level fields without a value are left out."""
        there = {}
        for name, value in record.items():
            if name in self.nanoseconds and isinstance(value, int):
                value //= 1_000
            if value is not None:
                there[self.names.get(name, name)] = _plain(value)
        return orjson.dumps(there, default=str)


def _is_nanoseconds(kind: Any) -> bool:
    branches = kind if isinstance(kind, list) else [kind]
    return any(isinstance(each, dict) and each.get("logicalType", "").endswith("-nanos") for each in branches)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}  # an object: it fits no column
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))  # a number, not a text
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}  # the same; as a number it would become null
    return value
