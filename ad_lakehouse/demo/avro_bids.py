"""Bid requests as Avro: records in Confluent's framing, and container files of them.

Belongs here: the exchanges' schemas and an encoder for just these. Not here: what goes wrong with records
(troubles.py). A general encoder takes 20 µs a record, as long as all the rest of the demo's generation; here most of
a record is bytes that were made once for its user, site, campaign and agent.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from ad_lakehouse.demo.population import Population
from ad_lakehouse.demo.traffic import CAMPAIGN_IDS, CREATIVE_IDS, CURRENCIES, SITES, Table, rows

OPTIONAL_STRING, OPTIONAL_LONG = ["null", "string"], ["null", "long"]
STRINGS = {"type": "array", "items": "string"}
FIELDS: list[dict[str, Any]] = [
    {"name": "event_id", "type": OPTIONAL_STRING},
    {"name": "event_ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "auction_id", "type": "string"},
    {"name": "floor_micros", "type": OPTIONAL_LONG},
    {"name": "bid_micros", "type": OPTIONAL_LONG},
    {"name": "won", "type": ["null", "boolean"]},
    {"name": "price_micros", "type": OPTIONAL_LONG},
    {"name": "campaign_id", "type": OPTIONAL_STRING},
    {"name": "creative_id", "type": OPTIONAL_STRING},
    {"name": "currency", "type": OPTIONAL_STRING},
    {"name": "auction_type", "type": OPTIONAL_STRING},
    {"name": "site", "type": OPTIONAL_STRING},
    {"name": "user_agent", "type": OPTIONAL_STRING},
    {"name": "user_id", "type": "string"},
    {"name": "user_segments", "type": ["null", STRINGS]},
    {"name": "country", "type": OPTIONAL_STRING},
    {"name": "device", "type": OPTIONAL_STRING},
    {"name": "targeting", "type": STRINGS},
]
RECORD = {"type": "record", "name": "BidRequest", "namespace": "exchange"}
PLAIN, WITH_DEAL = 1, 2
# The writers' schemas by registry id. The second has a field that the lake does not know.
BID_SCHEMAS: dict[int, dict[str, Any]] = {
    PLAIN: {**RECORD, "fields": FIELDS},
    WITH_DEAL: {**RECORD, "fields": [*FIELDS, {"name": "deal_id", "type": OPTIONAL_STRING, "default": None}]},
}
FRAME = 5  # bytes: 0, the schema's id
FRAMES = {number: struct.pack(">bI", 0, number) for number in BID_SCHEMAS}
NULL, NO_BID = b"\0", b"\0\0"
BLOCK = 4_000  # records in a block of a container file
SYNC = b"ad-lakehouse-dem"


def long(value: int) -> bytes:
    """Zigzag, then seven bits a byte."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    data = value.encode()
    return long(len(data)) + data


def some(data: bytes) -> bytes:
    """The second branch of a union with null."""
    return b"\2" + data


def strings(values: Sequence[str]) -> bytes:
    return long(len(values)) + b"".join(map(text, values)) + b"\0"


def user_part(people: Population, user: int) -> bytes:
    country, device = people.country[user], people.device[user]
    segments = some(strings(["returning", f"seg-{user % 9}"])) if user % 3 else NULL
    known = some(text(country)) + some(text(device)) + strings([f"country={country}", f"device={device}"])
    return text(people.ids[user]) + segments + known


def bid_records(table: Table, people: Population) -> list[bytes]:
    """One framed record for each row."""
    users = [user_part(people, user) for user in range(len(people.ids))]
    agents = [some(text(agent)) for agent in people.agents]
    campaigns, creatives = ([some(text(each)) for each in names] for names in (CAMPAIGN_IDS, CREATIVE_IDS))
    currencies = [some(text(each)) for each in CURRENCIES]
    kinds = ("first_price", "second_price")
    sites = [some(text(kinds[place % 2])) + some(text(site)) for place, site in enumerate(SITES)]
    id_start, auction_start = text("b" + "0" * 16)[:2], text("a" + "0" * 16)[:2]
    records = []
    columns = ("id", "ts", "auction", "floor", "bid", "won", "price", "campaign", "creative", "site", "agent", "user")
    for row in rows(table, *columns, "no_id", "unknown", "variant"):
        event, ts, auction, floor, bid, won, price, campaign, creative, site, agent, user, no_id, unknown, variant = row
        did_bid = bid >= 0
        records.append(
            b"".join(
                (
                    FRAMES[WITH_DEAL if unknown else PLAIN],
                    NULL if no_id else some(id_start) + b"%016x" % event,
                    long(ts),
                    auction_start + b"%016x" % auction,
                    some(long(floor + variant)),
                    some(long(bid)) + (b"\2\1" if won == 1 else b"\2\0") if did_bid else NO_BID,
                    some(long(price)) if won == 1 else NULL,
                    campaigns[campaign] + creatives[creative] if did_bid else NO_BID,
                    currencies[campaign],
                    sites[site],
                    NULL if no_id else agents[agent],
                    users[user],
                    some(text(f"deal-{site}")) if unknown else b"",
                )
            )
        )
    return records


def container(schema_id: int, framed: Sequence[bytes]) -> Iterator[bytes]:
    """A container file, in pieces, of records that all have this schema."""
    schema = json.dumps(BID_SCHEMAS[schema_id]).encode()
    pairs = {"avro.schema": schema, "avro.codec": b"deflate"}
    header = b"".join(text(name) + long(len(value)) + value for name, value in pairs.items())
    yield b"Obj\1" + long(len(pairs)) + header + b"\0" + SYNC
    for first in range(0, len(framed), BLOCK):
        block = framed[first : first + BLOCK]
        packer = zlib.compressobj(level=1, wbits=-15)
        data = packer.compress(b"".join(record[FRAME:] for record in block)) + packer.flush()
        yield long(len(block)) + long(len(data)) + data + SYNC


def schema_of(framed: bytes) -> int:
    """The schema id in a frame."""
    return int.from_bytes(framed[1:FRAME], "big")
