"""Sources: what arrives where, in which form, and which of our fields its fields are.

Belongs here: the model of a source, loading the built-in and the user's own YAML, a bronze table's columns.
Not here: reading YAML (source_file.py), Avro types (schemas.py), decoding (decode/).

A user's folder adds sources, or overrides built-in ones: a file of the same name replaces the fields it gives, the
others stay as built in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from ad_lakehouse.errors import ConfigurationError
from kafka_sinks.schemas import BUILT_IN, TIMESTAMP, SchemaField, load_schema, schema_fields
from kafka_sinks.source_file import SourceFields, SourceFile, SplitRule, read_source_file

SOURCES = Path(__file__).with_name("sources")
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
PATH_PART = re.compile(r'"([^"]+)"|([^."]+)')
LANDING_COLUMNS = (
    pa.field("event_date", pa.date32()),
    pa.field("_rescued", pa.string()),
    pa.field("_synthetic_id", pa.bool_()),
    pa.field("_topic", pa.string()),
    pa.field("_partition", pa.int32()),
    pa.field("_offset", pa.int64()),
    pa.field("_timestamp", TIMESTAMP),
    pa.field("_key", pa.binary()),
    pa.field("_headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
    pa.field("_file", pa.string()),
    pa.field("_row", pa.int64()),
    pa.field("_landed_at", TIMESTAMP),
    pa.field("_batch", pa.string()),
    pa.field("_reason", pa.string()),
    pa.field("_error", pa.string()),
    pa.field("_raw", pa.binary()),
)


@dataclass(frozen=True)
class Source:
    """One source. `mapping` has our fields that stand elsewhere: our name → their name or dotted path.

    `headers` are the column lists a CSV record on the topic may have, told apart by their number of columns.
    """

    name: str
    wire: Literal["json", "csv", "avro"]
    topic: str | None
    files: tuple[str, ...]
    schema: Mapping[str, Any]
    mapping: Mapping[str, str]
    headers: tuple[tuple[str, ...], ...]
    without_id: Literal["collapse", "keep"]
    dimension: bool
    split: SplitRule | None
    own_topic: bool = False  # the user's own YAML names it, so it has to be there

    @cached_property
    def fields(self) -> tuple[SchemaField, ...]:
        """The business fields in the order of the schema."""
        return schema_fields(dict(self.schema), self.name)

    @cached_property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """Where each of our fields stands in a record: the keys from the top.

        A field that is not mapped and whose own name holds mapped ones (`device` beside `ip: device.ip`) is not
        read: it would be an object.
        """
        mapped = {ours: self.path_of(theirs) for ours, theirs in self.mapping.items()}
        parents = {path[0] for path in mapped.values() if len(path) > 1}
        paths = {}
        for field in self.fields:
            if field.name in mapped:
                paths[field.name] = mapped[field.name]
            elif field.name not in parents:
                paths[field.name] = (field.name,)
        return paths

    def path_of(self, theirs: str) -> tuple[str, ...]:
        """The keys of a dotted path; a CSV column is one key, as is a part in double quotes."""
        if self.wire == "csv":
            return (theirs,)
        return tuple(quoted or plain for quoted, plain in PATH_PART.findall(theirs))

    def takes(self, path: PurePosixPath) -> bool:
        """Whether a file, named relative to the drop folder, is one of this source's."""
        return any(fits(path.parts, PurePosixPath(pattern).parts) for pattern in self.files)


def fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path is one of a pattern, part by part; `**` stands for any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(fits(path[start:], pattern[1:]) for start in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and fits(path[1:], pattern[1:])


def bronze_schema(source: Source) -> pa.Schema:
    """The columns of the source's bronze table: business fields, then the landing columns. All may be null."""
    return pa.schema([pa.field(field.name, field.type) for field in source.fields] + list(LANDING_COLUMNS))


def load_sources(extra: Path | None = None) -> dict[str, Source]:
    """The built-in sources with those of the folder `extra` added or laid over; raises `ConfigurationError`."""
    data: dict[str, dict[str, Any]] = {}
    sources: dict[str, Source] = {}
    for folder in (SOURCES, extra):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ConfigurationError(
                f"Sources folder {folder}: there is no such folder.",
                remedy="Correct AD_LAKEHOUSE_LANDING__SOURCES or create it.",
            )
        given: dict[str, Path] = {}
        for path in sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")]):
            file = read_source_file(path)
            if file.name in given:
                file.fail(["name"], f"{given[file.name]} is the source {file.name} too", "Keep one of them.")
            given[file.name] = path
            below = data.get(file.name, {})
            schema = sources[file.name].schema if file.name in sources else None
            data[file.name] = {**below, **file.data}
            made = _source(file, file.checked(data[file.name]), schema)
            sources[file.name] = replace(made, own_topic=folder is extra and "topic" in file.data)
    _check_shared_files(sources)
    return sources


def sources_of_file(sources: Mapping[str, Source], path: PurePosixPath) -> tuple[Source, ...]:
    """The sources a dropped file belongs to: one, or those that split it. Empty when none takes it."""
    return tuple(source for source in sources.values() if source.takes(path))


def _source(file: SourceFile, fields: SourceFields, below: Mapping[str, Any] | None) -> Source:
    if not TABLE_NAME.fullmatch(file.name):
        file.fail(["name"], f"{file.name!r} is no table name", "Use lower case letters, digits and underscores.")
    if fields.wire is None:
        file.fail(["wire"], "is missing", "Say json, csv or avro.")
    schema: Mapping[str, Any]
    if "schema" in file.data:
        schema = load_schema(file.path.parent / str(fields.schema_file))
    elif below is not None:
        schema = below
    elif (BUILT_IN / f"{file.name}.avsc").exists():
        schema = load_schema(BUILT_IN / f"{file.name}.avsc")
    else:
        file.fail(["schema"], "is missing", "Name the .avsc file that describes the source's fields.")
    names = tuple(field["name"] for field in schema["fields"])
    _check_schema(file, fields, schema)
    headers = fields.header if fields.header and isinstance(fields.header[0], tuple) else (fields.header or names,)
    source = Source(
        name=file.name,
        wire=fields.wire,
        topic=fields.topic,
        files=fields.files,
        schema=schema,
        mapping=fields.mapping,
        headers=headers,  # type: ignore[arg-type]  # both forms of the YAML are tuples of tuples now
        without_id=fields.without_id,
        dimension=fields.dimension,
        split=fields.split,
    )
    _check_names(file, source)
    return source


def _check_schema(file: SourceFile, fields: SourceFields, schema: Mapping[str, Any]) -> None:
    types = {field.name: field for field in schema_fields(dict(schema), file.name)}
    ours = {field.name for field in LANDING_COLUMNS}
    if clash := sorted(ours & set(types)):
        file.fail(["schema"], f"field {clash[0]} is a column of the landing itself", "Give the field another name.")
    if not fields.dimension and ("event_ts" not in types or types["event_ts"].type != TIMESTAMP):
        file.fail(["schema"], "an event has no field event_ts (timestamp-micros)", "Add it, or say dimension: true.")
    if not fields.dimension and ("event_id" not in types or types["event_id"].type != pa.string()):
        file.fail(["schema"], "an event has no field event_id (string)", "Add it, or say dimension: true.")


def _check_names(file: SourceFile, source: Source) -> None:
    names = [field.name for field in source.fields]
    wanted = [("mapping", name) for name in source.mapping] + ([("split", "by")] if source.split else [])
    for place in wanted:
        name = source.split.by if place == ("split", "by") and source.split else place[1]
        if name not in names:
            close = get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(close)}?" if close else f"Its fields are {', '.join(names)}."
            file.fail(place, f"{source.name} has no field {name!r}", hint)
    paths = {ours: source.path_of(theirs) for ours, theirs in source.mapping.items()}
    for ours, path in paths.items():
        if not path:
            file.fail(["mapping", ours], "is no path", "Write the keys from the top, joined by dots.")
        for other, longer in paths.items():
            if len(longer) > len(path) and longer[: len(path)] == path:
                file.fail(["mapping", ours], f"it holds the field of {other}, so it is an object", "Map a value.")
    for header in source.headers:
        double = sorted({column for column in header if header.count(column) > 1})
        if double:
            file.fail(["header"], f"column {double[0]} is there twice", "Name each column once.")
    if len({len(header) for header in source.headers}) != len(source.headers):
        file.fail(["header"], "two forms have the same number of columns", "Only their number tells them apart.")


def _check_shared_files(sources: Mapping[str, Source]) -> None:
    """Sources that name the same files must split them by the same field, one taking the rest."""
    sharing: dict[str, list[Source]] = {}
    for source in sources.values():
        for pattern in source.files:
            sharing.setdefault(pattern, []).append(source)
    for pattern, group in sharing.items():
        if len(group) == 1:
            continue
        names = ", ".join(source.name for source in group)
        by = {source.split.by if source.split else None for source in group}
        rest = [source for source in group if source.split and source.split.rest]
        if len(by) > 1 or None in by or len(rest) != 1 or len({source.wire for source in group}) > 1:
            raise ConfigurationError(
                f"Sources {names}: all of them take the files {pattern}.",
                remedy="Give each the same wire and a split by the same field, and one of them rest: true.",
            )
        values = [value for source in group if source.split for value in source.split.values]
        if double := sorted({value for value in values if values.count(value) > 1}):
            raise ConfigurationError(
                f"Sources {names}: value {double[0]!r} of their split is claimed twice.", remedy="Give it to one."
            )
