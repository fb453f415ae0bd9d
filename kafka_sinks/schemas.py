"""Source schemas: what an .avsc file says of a source's fields, and their Arrow types.

Belongs here: reading .avsc files, Avro type → Arrow type. Not here: the landing columns and YAML (sources.py),
schemas of those who write to our topics (decode/registry.py).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ad_lakehouse.errors import ConfigurationError

BUILT_IN = Path(__file__).with_name("schemas")
TIMESTAMP = pa.timestamp("us", "UTC")
SIMPLE = {
    "string": pa.string(),
    "long": pa.int64(),
    "int": pa.int32(),
    "boolean": pa.bool_(),
    "double": pa.float64(),
    "float": pa.float64(),
}
LOGICAL: dict[tuple[Any, Any], pa.DataType] = {
    ("long", "timestamp-micros"): TIMESTAMP,
    ("long", "timestamp-millis"): TIMESTAMP,
    ("int", "date"): pa.date32(),
}


@dataclass(frozen=True)
class SchemaField:
    """One business field: its column type, whether a record must have it, its least value (`minimum` in the .avsc)."""

    name: str
    type: pa.DataType
    required: bool
    doc: str
    aliases: tuple[str, ...] = ()
    minimum: int | None = None


def load_schema(path: Path) -> dict[str, Any]:
    """The parsed .avsc of a source; raises `ConfigurationError` naming the file and what is wrong in it."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"Schema {path}: {error.strerror or error}.", remedy="Give the source a schema file."
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"Schema {path}: not JSON: {error}.", remedy="Correct it.") from None
    if not isinstance(schema, dict) or schema.get("type") != "record" or not isinstance(schema.get("fields"), list):
        raise ConfigurationError(f"Schema {path}: is not an Avro record.", remedy='Start with {"type": "record", …}.')
    schema_fields(schema, str(path))
    return schema


def schema_fields(schema: dict[str, Any], place: str = "schema") -> tuple[SchemaField, ...]:
    """The business fields in their order. `place` names the schema in errors."""
    fields = []
    for field in schema["fields"]:
        if not isinstance(field, dict) or not isinstance(field.get("name"), str) or "type" not in field:
            raise ConfigurationError(f"{place}: field {field!r} has no name or no type.", remedy="Give it both.")
        kind, nullable = _without_null(field["type"])
        arrow = arrow_type(kind)
        if arrow is None:
            raise ConfigurationError(
                f"{place}: field {field['name']}: type {json.dumps(field['type'])} cannot be a column.",
                remedy="Use string, boolean, int, long, double, timestamp-micros, date, decimal or array of string, "
                'each alone or as ["null", …].',
            )
        required = not nullable and "default" not in field
        aliases = tuple(field.get("aliases", ()))
        minimum = field.get("minimum")
        if minimum is not None and not (isinstance(minimum, int) and pa.types.is_integer(arrow)):
            raise ConfigurationError(
                f"{place}: field {field['name']}: minimum {minimum!r} needs a whole number on an int or long field.",
                remedy="Correct or remove it.",
            )
        fields.append(SchemaField(field["name"], arrow, required, str(field.get("doc", "")), aliases, minimum))
    return tuple(fields)


def arrow_type(avro: Any) -> pa.DataType | None:
    """The column type of a non-null Avro type; None when there is none."""
    if isinstance(avro, str):
        return SIMPLE.get(avro)
    if not isinstance(avro, dict):
        return None
    kind, logical = avro.get("type"), avro.get("logicalType")
    if kind == "array":
        return pa.list_(pa.string()) if avro.get("items") == "string" else None
    if logical == "decimal" and kind in ("bytes", "fixed"):
        return pa.decimal128(int(avro["precision"]), int(avro.get("scale", 0)))
    if logical and (kind, logical) in LOGICAL:
        return LOGICAL[kind, logical]
    return arrow_type(kind)


def _without_null(avro: Any) -> tuple[Any, bool]:
    if not isinstance(avro, list):
        return avro, avro == "null"
    others = [each for each in avro if each != "null"]
    return (others[0] if len(others) == 1 else None), "null" in avro
