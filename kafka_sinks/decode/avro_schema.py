"""Writers' schemas: refusing those that are no schema or would harm us, before anything is decoded with them.

Belongs here: depth, recursion, size of a schema; expanding named types. Not here: where they come from
(registry.py), decoding.

Decoders crash the process on schemas nested a hundred deep, or recursive ones; and a few named types that hold each
other twice, thirty levels long, expand to a thousand million fields.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

# Arrow hands over no type nested deeper than 64, and our own record stands around it. Maps of maps crash a reader.
DEEPEST = 48
DEEPEST_TEXT = 124  # of the schema's JSON: the bulk reader's parser ends at 127, and our own record takes three
MOST_NODES = 10_000
LARGEST_TEXT = 1 << 20
LONGEST_ERROR = 200
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST_FIXED = 1 << 20
LONGEST_NAME = 255  # of a field or symbol: one byte of a record may stand for it
MOST_EMPTY_ITEMS = 256  # of a record, items without any bytes: a few bytes could claim any number of them
LOGICAL = (
    "decimal",
    "date",
    "timestamp-millis",
    "timestamp-micros",
    "timestamp-nanos",
    "local-timestamp-millis",
    "local-timestamp-micros",
    "local-timestamp-nanos",
)
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


TYPES, SCHEMA = "types of other subjects", "schema"  # keys that no schema has


def with_types(types: Sequence[str], schema: str) -> str:
    """One text of a schema and of those it refers to, each behind what it refers to itself."""
    return json.dumps({TYPES: types, SCHEMA: schema}) if types else schema


class SchemaRefused(ValueError):
    """Why a writer's schema is not decoded with."""


@dataclass
class _Expansion:
    """Named types met so far, by full name, and the nodes made."""

    named: dict[str, dict[str, Any]]
    nodes: int = 0


@lru_cache(maxsize=64)
def checked_schema(text: str) -> dict[str, Any]:
    """A writer's record schema with every reference to a named type replaced by its definition.

    `text`: the schema's, or what `with_types` made of several. Raises `SchemaRefused`.
    """
    if len(text) > LARGEST_TEXT:
        raise SchemaRefused(f"the schema has {len(text)} characters, more than {LARGEST_TEXT}")
    try:
        schema = json.loads(text)
        types = []
        if isinstance(schema, dict) and TYPES in schema:
            types, schema = list(map(json.loads, schema[TYPES])), json.loads(schema[SCHEMA])
    except RecursionError:
        raise SchemaRefused(f"the schema is nested deeper than {DEEPEST}") from None
    except ValueError as error:
        raise SchemaRefused(f"the schema is not JSON: {error}") from None
    expansion = _Expansion({})
    for each in types:
        _expand(each, "", (), 0, expansion)
    expanded = _expand(schema, "", (), 0, expansion)
    if not isinstance(expanded, dict) or expanded["type"] != "record":
        raise SchemaRefused("the schema is no record")
    try:
        fastavro.parse_schema(expanded)
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError) as error:
        raise SchemaRefused(f"the schema is not valid: {error}"[:LONGEST_ERROR]) from None
    return expanded


def _expand(schema: Any, space: str, inside: tuple[str, ...], depth: int, state: _Expansion) -> Any:
    state.nodes += 1
    if depth > DEEPEST:
        raise SchemaRefused(f"the schema is nested deeper than {DEEPEST}")
    if state.nodes > MOST_NODES:
        raise SchemaRefused(f"the schema expands to more than {MOST_NODES} parts")
    if isinstance(schema, list):
        return [_expand(each, space, inside, depth + 1, state) for each in schema]
    if isinstance(schema, str):
        return _referred(schema, space, inside, depth, state)
    if not isinstance(schema, dict) or "type" not in schema:
        raise SchemaRefused(f"{str(schema)[:80]!r} is no type")
    kind = schema["type"]
    if kind in ("record", "error", "enum", "fixed"):
        name = _full_name(schema, space)
        if name in inside:
            raise SchemaRefused(f"the schema is recursive in {name}")
        state.named[name] = {**schema, "namespace": name.rpartition(".")[0]}
        return _named(state.named[name], name, inside, depth, state)
    if kind == "array":
        return {"type": "array", "items": _expand(schema.get("items"), space, inside, depth + 1, state)}
    if kind == "map":
        return {"type": "map", "values": _expand(schema.get("values"), space, inside, depth + 2, state)}
    if isinstance(kind, str) and kind in PRIMITIVES:
        return _plain(schema)
    return _expand(kind, space, inside, depth + 1, state)


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A primitive with its logical type only where the bulk reader reads it rightly."""
    if schema.get("logicalType") not in LOGICAL or schema["type"] == "string":
        return {"type": schema["type"]}
    if schema["logicalType"] == "decimal" and not _fits_decimal(schema):
        return {"type": schema["type"]}
    kept = ("type", "logicalType", "precision", "scale")
    return {name: schema[name] for name in kept if name in schema}


def _fits_decimal(schema: dict[str, Any]) -> bool:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    return type(precision) is int and type(scale) is int and 0 <= scale <= precision <= 38 and precision > 0


def in_bulk(schema: Any, above: int = 0) -> bool:
    """Whether the bulk reader takes the schema: it knows no union but of one type and null, no empty record.

    Nor one whose JSON is nested too deep, as that of 41 records in each other; `above` counts what is around it.
    """
    if isinstance(schema, str):
        return True
    if above >= DEEPEST_TEXT:
        return False
    if isinstance(schema, list):
        return len(schema) == 2 and "null" in schema and all(in_bulk(each, above + 1) for each in schema)
    if schema["type"] == "record":
        fields = schema["fields"]
        return bool(fields) and above + 3 <= DEEPEST_TEXT and all(in_bulk(each["type"], above + 3) for each in fields)
    if schema["type"] == "enum":
        return above + 2 <= DEEPEST_TEXT
    inner = schema.get("items", schema.get("values"))
    return inner is None or in_bulk(inner, above + 1)


def _referred(name: str, space: str, inside: tuple[str, ...], depth: int, state: _Expansion) -> Any:
    if name in PRIMITIVES:
        return name
    full = next((each for each in (f"{space}.{name}", name) if each in state.named), None)
    if full is None:
        raise SchemaRefused(f"type {name[:80]!r} is not defined")
    if full in inside:
        raise SchemaRefused(f"the schema is recursive in {full}")
    return _named(state.named[full], full, inside, depth, state)


def _named(schema: dict[str, Any], name: str, inside: tuple[str, ...], depth: int, state: _Expansion) -> dict[str, Any]:
    # Its own name for each place it stands in: a named type may be defined only once in a schema.
    alone: dict[str, Any] = {"type": schema["type"], "name": f"T{state.nodes}"}
    if schema["type"] in ("record", "error"):
        fields = schema.get("fields")
        if not isinstance(fields, list) or not all(isinstance(each, dict) and "name" in each for each in fields):
            raise SchemaRefused(f"record {name} has no fields")
        names = [str(each["name"]) for each in fields]
        if len(set(names)) != len(names) or not all(map(NAME.fullmatch, names)):
            raise SchemaRefused(f"record {name} has a field twice, or one whose name is none")
        _check_length(names, name)
        space = name.rpartition(".")[0]
        alone["type"] = "record"
        alone["fields"] = [
            {"name": each["name"], "type": _expand(each.get("type"), space, (*inside, name), depth + 1, state)}
            for each in fields
        ]
    elif schema["type"] == "enum":
        alone["symbols"] = _symbols(schema, name)
    else:
        size = schema.get("size")
        if type(size) is not int or not 0 <= size <= LARGEST_FIXED:
            raise SchemaRefused(f"fixed {name} has no size")
        alone["size"] = size
        if schema.get("logicalType") == "decimal" and _fits_decimal(schema) and 0 < size <= 16:
            alone |= {name: schema[name] for name in ("logicalType", "precision", "scale") if name in schema}
    return alone


def _symbols(schema: dict[str, Any], name: str) -> list[str]:
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(each, str) for each in symbols):
        raise SchemaRefused(f"enum {name} has no symbols")
    _check_length(symbols, name)
    return symbols


def _check_length(names: list[str], owner: str) -> None:
    longest = max(map(len, names), default=0)
    if longest > LONGEST_NAME:
        raise SchemaRefused(f"a name in {owner[:80]} has {longest} characters, more than {LONGEST_NAME}")


def _full_name(schema: dict[str, Any], space: str) -> str:
    name = str(schema.get("name", ""))
    if not name:
        raise SchemaRefused(f"a {schema['type']} has no name")
    if "." in name:
        return name
    space = str(schema.get("namespace") or space)
    return f"{space}.{name}" if space else name


def has_empty_items(schema: Any) -> bool:
    """Whether the schema has a list whose items take no bytes.

    Readers make as many items as such a list claims. So its records are not read before they were walked, and those
    that can't be walked to their end are refused.
    """
    if isinstance(schema, list):
        return any(map(has_empty_items, schema))
    if isinstance(schema, str):
        return False
    if schema["type"] == "record":
        return any(has_empty_items(field["type"]) for field in schema["fields"])
    if schema["type"] == "array":
        return not least_size(schema["items"]) or has_empty_items(schema["items"])
    return schema["type"] == "map" and has_empty_items(schema["values"])


def least_size(schema: Any) -> int:
    """Bytes a value of the schema has at least."""
    if isinstance(schema, list):
        return 1
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return sum(least_size(field["type"]) for field in schema["fields"])
    if kind == "fixed":
        return int(schema["size"])
    return {"null": 0, "float": 4, "double": 8}.get(kind, 1)
