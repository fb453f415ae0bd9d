"""The records that landing is measured on: JSON impressions of about 280 bytes, Avro bid requests.

Not here: realistic traffic (ad_lakehouse/demo).
"""

import io
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro

DISTINCT = 20_000  # payloads made once and repeated with their own id, so that producing does not dominate


def impressions(seed: int, now_micros: int) -> Iterator[bytes]:
    """Endless JSON impressions of about 280 bytes with ids of their own, event times in the last 24 hours."""
    pick = random.Random(seed)
    templates = []
    for _ in range(DISTINCT):
        body: dict[str, Any] = {
            "event_ts": now_micros - pick.randrange(86_400_000_000),
            "creative_id": f"cr-{pick.randrange(5000):05d}",
            "user_id": f"{pick.getrandbits(64):016x}",
            "site": f"publisher-{pick.randrange(900):03d}.example",
            "auction_id": f"{pick.getrandbits(64):016x}",
            "viewable": pick.random() < 0.7,
            "price_micros": pick.randrange(500_000, 9_000_000),
            "currency": pick.choice(["USD", "EUR"]),
            "country": pick.choice(["US", "DE", "GB"]),
            "device": pick.choice(["mobile", "desktop"]),
        }
        templates.append(json.dumps(body, separators=(",", ":")).encode()[1:])
    while True:
        for template in templates:
            yield b'{"event_id":"%s",' % uuid.UUID(int=pick.getrandbits(128)).hex.encode() + template


def one_bad_in(count: int, payloads: Iterator[bytes]) -> Iterator[bytes]:
    """The payloads, one of each `count` cut in half."""
    for number, payload in enumerate(payloads):
        yield payload if number % count else payload[: len(payload) // 2]


def bid_requests(seed: int, now_micros: int, schema_id: int, schema: Path) -> Iterator[bytes]:
    """Endless Confluent-framed Avro bid requests with ids of their own."""
    parsed = fastavro.parse_schema(json.loads(schema.read_text()))
    pick = random.Random(seed)
    frame = b"\0" + schema_id.to_bytes(4, "big")
    placeholder = "0" * 32
    templates = []
    for _ in range(DISTINCT):
        out = io.BytesIO()
        record = {
            "event_id": placeholder,
            "event_ts": now_micros - pick.randrange(86_400_000_000),
            "user_id": f"{pick.getrandbits(64):016x}",
            "user_segments": [f"seg-{pick.randrange(99)}" for _ in range(3)],
            "auction_id": f"{pick.getrandbits(64):016x}",
            "auction_type": "first_price",
            "site": f"publisher-{pick.randrange(900):03d}.example",
            "floor_micros": pick.randrange(100_000, 900_000),
            "bid_micros": pick.randrange(500_000, 9_000_000),
            "won": pick.random() < 0.3,
            "currency": "USD",
            "campaign_id": f"ca-{pick.randrange(500):04d}",
            "targeting": ["geo=US", "device=mobile"],
            "country": "US",
            "device": "mobile",
        }
        fastavro.schemaless_writer(out, parsed, record)
        templates.append(frame + out.getvalue())
    while True:
        for template in templates:
            yield template.replace(placeholder.encode(), uuid.UUID(int=pick.getrandbits(128)).hex.encode(), 1)
