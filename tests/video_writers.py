"""A source of a user's own, and versions of its writers: what each changes, and what becomes of its records.

Belongs here: the table of versions, their payloads. Not here: topics, landing (integration/test_schema_evolution.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from avro_writers import TIME, framed, writer
from registry_server import RegistryServer

from ad_lakehouse.lake import TableName
from kafka_sinks.sources import Source, load_sources

VIDEO = TableName("bronze", "video_events")
MOMENT = datetime.now(UTC).replace(microsecond=0)
OPTIONAL = {"default": None}
SCHEMA: Mapping[str, Any] = {
    "type": "record",
    "name": "VideoEvent",
    "fields": [
        {"name": "event_id", "type": ["null", "string"], **OPTIONAL},
        {"name": "event_ts", "type": TIME},
        {"name": "user_id", "type": "string"},
        {"name": "position", "type": ["null", "int"], **OPTIONAL},
        {"name": "watched_ms", "type": ["null", "long"], **OPTIONAL},
        {"name": "score", "type": ["null", "double"], **OPTIONAL},
        {"name": "title", "type": ["null", "string"], **OPTIONAL, "aliases": ["headline"]},
        {"name": "quality", "type": "string", "default": "unknown"},
    ],
}
WRITTEN: Mapping[str, tuple[Any, Any]] = {
    "event_ts": (TIME, MOMENT),
    "user_id": ("string", "u"),
    "watched_ms": ("long", 1500),
    "title": ("string", "t"),
}
LANDED = {"user_id": "u", "position": None, "watched_ms": 1500, "score": None, "title": "t", "quality": None}
UNION = ["null", "string", "long"]
ODD = {"odd": (UNION, None)}  # a schema with it is decoded record by record
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "text", "type": "string"}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["a"]}
LIST = {"type": "array", "items": "long"}
BYTES, NO_TEXT, SOON = ("bytes", "é".encode()), ("bytes", b"\xff"), ("string", "soon")
HEADLINE = {"headline": ("string", "h")}
Wire = Literal["json", "csv", "avro"]


@dataclass(frozen=True)
class Writer:
    """A version of a writer: what it writes otherwise (type and value), what becomes of it."""

    promise: str
    writes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    lands: Mapping[str, Any] = field(default_factory=dict)
    rescued: Mapping[str, Any] | None = None
    fault: tuple[str, str] | None = None
    wires: tuple[Wire, ...] = ("json", "avro")

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        return {name: pair for name, pair in {**WRITTEN, **self.writes}.items() if name not in self.drops}

    def expected(self) -> tuple[Any, ...]:
        """Columns, rescued fields, reason and what the error says."""
        if self.fault:
            return dict.fromkeys(LANDED), None, *self.fault
        return {**LANDED, **self.lands}, self.rescued, None, None


def no_type(name: str) -> tuple[str, str]:
    return "invalid_type", f"{name}: "


AVRO: tuple[Wire, ...] = ("avro",)
WRITERS = [
    Writer("writes what we read"),
    Writer("adds a field", {"bitrate": ("int", 800)}, rescued={"bitrate": 800}),
    Writer("adds a record", {"player": (INNER, {"text": "x"})}, rescued={"player": {"text": "x"}}),
    Writer("drops an optional field", drops=("title",), lands={"title": None}),
    Writer("drops a required field", drops=("user_id",), fault=("missing_field", "missing: user_id")),
    Writer("drops what has a default", drops=("watched_ms",), lands={"watched_ms": None, "quality": None}),
    Writer("writes what has a default", {"quality": ("string", "hd")}, lands={"quality": "hd"}),
    Writer("writes int for long", {"watched_ms": ("int", 7)}, lands={"watched_ms": 7}),
    Writer("writes long for int", {"position": ("long", 7)}, lands={"position": 7}),
    Writer("writes long for int, too large", {"position": ("long", 2**40)}, fault=no_type("position")),
    Writer("writes float for double", {"score": ("float", 0.5)}, lands={"score": 0.5}),
    Writer("writes int for double", {"score": ("int", 3)}, lands={"score": 3.0}),
    Writer("writes long for text", {"title": ("long", 5)}, lands={"title": "5"}),
    Writer("writes double for text", {"title": ("double", 1.5)}, fault=no_type("title")),
    Writer("writes text for long, a number", {"watched_ms": ("string", "12")}, lands={"watched_ms": 12}),
    Writer("writes text for long, no number", {"watched_ms": SOON}, fault=no_type("watched_ms")),
    Writer("writes double for long, whole", {"watched_ms": ("double", 12.0)}, lands={"watched_ms": 12}),
    Writer("writes double for long, not whole", {"watched_ms": ("double", 1.5)}, fault=no_type("watched_ms")),
    Writer("writes a record for text", {"title": (INNER, {"text": "x"})}, fault=no_type("title")),
    Writer("writes a list for long", {"watched_ms": (LIST, [1])}, fault=no_type("watched_ms")),
    Writer("writes bytes for text", {"title": BYTES}, lands={"title": "é"}, wires=AVRO),
    Writer("writes bytes for text, no UTF-8", {"title": NO_TEXT}, fault=no_type("title"), wires=AVRO),
    Writer("writes an enum for text", {"title": (ENUM, "a")}, lands={"title": "a"}),
    Writer("renames by alias", HEADLINE, ("title",), {"title": "h"}, wires=AVRO),
    Writer("renames", HEADLINE, ("title",), {"title": None}, {"headline": "h"}, wires=("json",)),  # has no aliases
    Writer("has an odd union", {"odd": (UNION, 5)}, rescued={"odd": 5}),
    Writer("odd, renames by alias", {**ODD, **HEADLINE}, ("title",), {"title": "h"}, wires=AVRO),
    Writer("odd, writes bytes for text", {**ODD, "title": BYTES}, lands={"title": "é"}, wires=AVRO),
    Writer("odd, writes bytes for text, no UTF-8", {**ODD, "title": NO_TEXT}, fault=no_type("title"), wires=AVRO),
    Writer("odd, writes text for long", {**ODD, "watched_ms": SOON}, fault=no_type("watched_ms"), wires=AVRO),
]  # fmt: skip


def video(folder: Path, topic: str, wire: Wire, **more: Any) -> Source:
    """A user's own source."""
    folder.mkdir(exist_ok=True)
    (folder / "video_events.avsc").write_text(json.dumps(SCHEMA))
    header = list(WRITTEN)
    (folder / "video_events.yml").write_text(
        json.dumps({"wire": wire, "topic": topic, "schema": "video_events.avsc", "header": header, **more})
    )
    return load_sources(folder)["video_events"]


def with_field(source: Source, **extra: Any) -> Source:
    """The source in its next version."""
    return replace(source, schema={**source.schema, "fields": [*source.schema["fields"], extra]})


def payload(each: Writer, wire: Wire, registry: RegistryServer | None = None, subject: str = "") -> bytes:
    """A record of the writer as it is sent; Avro's schema is registered first."""
    values = {name: value for name, (_, value) in each.fields.items()}
    if wire == "avro" and registry is not None:
        schema = writer({name: kind for name, (kind, _) in each.fields.items()})
        return framed(registry.register(subject, schema), schema, values)
    values["event_ts"] = MOMENT.isoformat()
    return json.dumps(values).encode() if wire == "json" else ",".join(map(str, values.values())).encode()
