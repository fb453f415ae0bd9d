"""What the decoder tests share: a batch in, rows out as dictionaries."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ad_lakehouse.settings import LandingSettings
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


def with_fields(tmp_path: Path, name: str, yaml: str) -> Source:
    """A built-in source with a user's YAML laid over."""
    (tmp_path / f"{name}.yml").write_text(yaml, encoding="utf-8")
    return load_sources(tmp_path)[name]
