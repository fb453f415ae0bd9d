"""What the decoder tests share: a batch or a file in, rows out as dictionaries."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ad_lakehouse.files.reading import FileOrigin, Part, check_whole, read_parts
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.decode import SchemaRegistry, decode_batch
from kafka_sinks.sources import Source, load_sources

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICROS = int(NOW.timestamp()) * 1_000_000
SOURCES = load_sources()
LIMITS = LandingSettings()  # type: ignore[call-arg]  # all have defaults


def moments(count: int) -> pa.TimestampArray:
    return pa.repeat(pa.scalar(NOW, pa.timestamp("us", "UTC")), count)


def rows_of(
    source: Source | str,
    payloads: Sequence[bytes | None],
    *,
    registry: SchemaRegistry | None = None,
    origins: Sequence[str] | None = None,
    header: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The decoded rows; that they are as many as the payloads is checked here, for every test."""
    table = decode_batch(
        SOURCES[source] if isinstance(source, str) else source,
        pa.array(payloads, pa.binary()),
        moments(len(payloads)),
        limits=LIMITS,
        registry=registry,
        origins=None if origins is None else pa.array(origins, pa.string()),
        header=header,
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    assert len(rows) == len(payloads)
    for row, payload in zip(rows, payloads, strict=True):
        accepted = row["_reason"] is None
        assert (row["_raw"] is None) if accepted else (row["_raw"] == payload)
        assert (row["event_date"] is not None) is accepted
        assert (row["_error"] is None) is accepted
        if not accepted:
            business = [name for name in row if not name.startswith("_")]
            assert all(row[name] is None for name in business)
    return rows


def rows_of_file(name: str, content: bytes, *sources: str) -> list[dict[str, Any]]:
    """The rows of a dropped file in the order of their numbers, which are checked; raises what landing it would."""
    stream = io.BytesIO(content)
    takers = [SOURCES[each] for each in sources]
    check_whole(stream, name)
    rows: list[dict[str, Any]] = []
    parts: list[Part] = []
    for parts in read_parts(stream, takers, FileOrigin(name, "sha", NOW, NOW, 0), Settings(landing=LIMITS)):
        assert [part.source for part in parts] == takers
        rows += [row for part in parts for row in part.rows.to_pylist()]
    assert parts[0].last
    rows.sort(key=lambda row: row["_row"])
    assert [row["_row"] for row in rows] == list(range(parts[0].end))
    return rows


def with_fields(tmp_path: Path, name: str, yaml: str) -> Source:
    """A built-in source with a user's YAML laid over."""
    (tmp_path / f"{name}.yml").write_text(yaml, encoding="utf-8")
    return load_sources(tmp_path)[name]
