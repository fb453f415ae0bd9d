"""Records that no lake can accept: what producers, proxies and clocks make of good ones.

Belongs here: for each source, how a good record is broken, and the reason it must be rejected with. Not here: records
that are delivered twice, late or in contradiction (delivery.py); those are accepted.
"""

import csv
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fastavro
import orjson

from ad_lakehouse.demo.avro_bids import BID_SCHEMAS, FRAME
from ad_lakehouse.demo.wire import csv_row

EPOCH, FAR = "1970-01-01T00:00:07Z", "2099-12-31T23:59:59Z"
EPOCH_MICROS, FAR_MICROS = 7_000_000, 4_102_444_799_000_000
UNKNOWN_SCHEMA = 999
EVENT_TS, USER, KIND, EVENT_ID, PRICE = 0, 1, 3, 4, 10  # columns of the mixed CSV file


@dataclass(frozen=True)
class Trouble:
    """A way to break a record, and the reason it is rejected with. `topic_only`: no file can hold such a record."""

    reason: str
    breaks: Callable[[bytes], bytes]
    topic_only: bool = False


def json_with(**changed: object) -> Callable[[bytes], bytes]:
    """A record with other values; `None` takes the field away."""

    def breaks(payload: bytes) -> bytes:
        record: dict[str, Any] = orjson.loads(payload) | changed
        record["event_id"] = f"x{record['event_id']}"
        return orjson.dumps({name: value for name, value in record.items() if value is not None})

    return breaks


def csv_with(column: int, value: object) -> Callable[[bytes], bytes]:
    def breaks(payload: bytes) -> bytes:
        fields: list[object] = list(next(csv.reader(io.StringIO(payload.decode()))))
        fields[EVENT_ID] = f"x{fields[EVENT_ID]}"
        fields[column] = value
        return csv_row(*fields)

    return breaks


def bid_at(moment: int) -> Callable[[bytes], bytes]:
    """A bid request of another time. A decodable one, by the schema of its frame."""

    def breaks(payload: bytes) -> bytes:
        schema = BID_SCHEMAS[int.from_bytes(payload[1:FRAME], "big")]
        record: Any = fastavro.schemaless_reader(io.BytesIO(payload[FRAME:]), schema, None)
        out = io.BytesIO(payload[:FRAME])
        out.seek(FRAME)
        fastavro.schemaless_writer(out, schema, record | {"event_ts": moment, "event_id": f"x{record['event_id']}"})
        return out.getvalue()

    return breaks


IMPRESSION_TROUBLES = (
    Trouble("invalid_json", lambda payload: payload[: len(payload) * 3 // 5]),  # cut by a proxy
    Trouble("invalid_type", json_with(price_micros="cheap")),
    Trouble("invalid_type", json_with(viewable="maybe")),
    Trouble("invalid_type", json_with(event_ts="yesterday")),
    Trouble("missing_field", json_with(user_id=None)),
    Trouble("not_a_record", lambda payload: b"[" + payload + b"]"),
    Trouble("empty", lambda _: b""),
    Trouble("event_time_out_of_range", json_with(event_ts=EPOCH)),
    Trouble("event_time_out_of_range", json_with(event_ts=FAR)),
)
CLICK_TROUBLES = (
    Trouble("invalid_csv", lambda payload: payload.split(b",", 3)[0] + b",cut"),
    Trouble("invalid_csv", lambda payload: payload.replace(b",", b',us"er', 1)),
    Trouble("invalid_type", csv_with(PRICE, "1,50 €")),
    Trouble("missing_field", csv_with(USER, None)),
    Trouble("unknown_type", csv_with(KIND, "teleport")),
    Trouble("event_time_out_of_range", csv_with(EVENT_TS, EPOCH)),
    Trouble("event_time_out_of_range", csv_with(EVENT_TS, FAR)),
)
CONVERSION_TROUBLES = (
    Trouble("invalid_type", csv_with(EVENT_TS, "24/12/2026 18:00")),
    Trouble("missing_field", csv_with(USER, None)),
    Trouble("event_time_out_of_range", csv_with(EVENT_TS, EPOCH)),
    Trouble("event_time_out_of_range", csv_with(EVENT_TS, FAR)),
)
BID_TROUBLES = (
    Trouble("event_time_out_of_range", bid_at(EPOCH_MICROS)),
    Trouble("event_time_out_of_range", bid_at(FAR_MICROS)),
    Trouble("invalid_avro", lambda payload: payload[: len(payload) // 2], topic_only=True),
    Trouble("invalid_avro", lambda payload: b"{" + payload[1:], topic_only=True),
    Trouble("unknown_schema", lambda payload: struct.pack(">bI", 0, UNKNOWN_SCHEMA) + payload[FRAME:], topic_only=True),
)
