"""Producers of Avro as they are in the field: each with its own schema, records framed with the id a registry gave.

Belongs here: schemas and records of writers. Not here: the registry (registry_server.py), topics (landing_topics.py).
"""

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fastavro
from pydantic import SecretStr
from registry_server import RegistryServer

from ad_lakehouse.lake import TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source, load_sources

BIDS = TableName("bronze", "bid_requests")
TIME = {"type": "long", "logicalType": "timestamp-micros"}
TEXTS = {"type": "array", "items": "string"}
BID_TYPES: Mapping[str, Any] = {"event_ts": TIME, "user_id": "string", "auction_id": "string", "targeting": TEXTS}


def settings_with(registry: RegistryServer, settings: Settings) -> Settings:
    """The settings of a test, with its registry in them."""
    settings.kafka.schema_registry = registry.url
    settings.kafka.schema_registry_auth = SecretStr(registry.auth)
    return settings


def environment_with(registry: RegistryServer) -> dict[str, str]:
    """The same for a command (command_line.py)."""
    return {"KAFKA__SCHEMA_REGISTRY": registry.url, "KAFKA__SCHEMA_REGISTRY_AUTH": registry.auth}


def bids_from(topic: str) -> Source:
    """The built-in source of bid requests, read from another topic."""
    return replace(load_sources()["bid_requests"], topic=topic)


def writer(types: Mapping[str, Any], name: str = "Written") -> dict[str, Any]:
    """A writer's schema with these fields."""
    fields = [{"name": field, "type": kind} for field, kind in types.items()]
    return {"type": "record", "name": name, "namespace": "com.example", "fields": fields}


def bid(number: int, **more: Any) -> dict[str, Any]:
    """A minimal bid request, distinct by its number."""
    record = {
        "event_ts": datetime.now(UTC),
        "user_id": f"u{number}",
        "auction_id": f"a{number}",
        "targeting": ["geo=de"],
    }
    return record | more


def framed(schema_id: int, schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """A record as producers with a registry send it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), record)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()
