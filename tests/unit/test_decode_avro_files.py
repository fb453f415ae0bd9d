"""Avro container files: bounded batches, a damaged block costs itself only."""

import io
import json
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from decoding import LIMITS, NOW, SOURCES, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode import ContainerUnreadable, RegistryUnavailable, decode_avro_container, open_registry
from kafka_sinks.decode.avro_blocks import LARGEST_BLOCK
from kafka_sinks.decode.registry import HttpRegistry

BID = dict(SOURCES["bid_requests"].schema)
SYNC = bytes(range(16))


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {"user_id": f"u{number}", "auction_id": "a", "event_ts": NOW, "targeting": ["geo=US"], **fields}


def container(records: list[dict[str, Any]], codec: str = "null", block_bytes: int = 200) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, BID, records, codec=codec, sync_interval=block_bytes, sync_marker=SYNC)
    return out.getvalue()


def landed(content: bytes, **limits: int) -> list[dict[str, Any]]:
    """All rows of a container; that the batches follow each other is checked here."""
    rows: list[dict[str, Any]] = []
    last = False
    for batch in decode_avro_container(
        SOURCES["bid_requests"], io.BytesIO(content), NOW, limits=LIMITS.model_copy(update=limits)
    ):
        assert batch.first == len(rows)
        assert not last
        assert len(batch.bodies) == batch.rows.num_rows <= limits.get("max_batch_rows", LIMITS.max_batch_rows)
        rows += batch.rows.to_pylist()
        last = batch.last
    assert last
    return rows


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_all_records_of_a_file_are_read_in_order(codec: str, count: int) -> None:
    rows = landed(container([record(n) for n in range(count)], codec), max_batch_rows=7)
    assert [(row["user_id"], row["_reason"]) for row in rows] == [(f"u{n}", None) for n in range(count)]


@pytest.mark.parametrize("codec", ["snappy", "zstandard"])
def test_codecs_of_other_writers_are_read(codec: str) -> None:
    plain = container([record(n) for n in range(40)], block_bytes=10**6)
    begin = plain.index(SYNC) + 16
    block = plain[begin:-16]
    count, size = block[:1], block[1:3]
    assert len(block) - 3 == (size[0] & 0x7F | size[1] << 7) >> 1
    body = block[3:]
    if codec == "snappy":
        packed = pa.compress(body, codec="snappy", asbytes=True) + zlib.crc32(body).to_bytes(4, "big")
    else:
        packed = pa.compress(body, codec="zstd", asbytes=True)
    assert len(packed) < 8192
    length = len(packed) << 1
    head = plain[:begin].replace(
        b"\x14avro.codec\x08null", b"\x14avro.codec" + bytes([len(codec) * 2]) + codec.encode()
    )
    rows = landed(head + count + bytes([length & 0x7F | 0x80, length >> 7]) + packed + SYNC)
    assert [row["user_id"] for row in rows] == [f"u{n}" for n in range(40)]


def test_a_damaged_block_is_one_rejected_row_that_keeps_its_bytes() -> None:
    content = container([record(n) for n in range(300)])
    blocks = content.split(SYNC)
    damaged = SYNC.join([*blocks[:5], blocks[5][:-3], *blocks[6:]])
    whole, rows = landed(content), landed(damaged, max_batch_rows=7)
    (bad,) = [row for row in rows if row["_reason"]]
    assert bad["_reason"] == "invalid_avro"
    assert bad["_raw"].startswith(b"Obj\x01")
    assert blocks[5][:-3] in bad["_raw"]
    names = [row["user_id"] for row in whole]
    left = [row["user_id"] for row in rows if not row["_reason"]]
    assert 0 < len(names) - len(left) < 20
    assert left == [name for name in names if name in set(left)]


@pytest.mark.parametrize("claimed", [1, 3, 70])
def test_a_block_that_is_not_filled_by_its_records_is_rejected_whole(claimed: int) -> None:
    content = container([record(0), record(1)], block_bytes=10**6)
    at = content.index(SYNC) + 16
    assert content[at] == 2 << 1
    (row,) = landed(content[:at] + bytes([claimed << 1 & 0x7F | 0x80, claimed >> 6]) + content[at + 1 :])
    assert row["_reason"] == "invalid_avro"


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_file_cut_anywhere_behind_its_header_keeps_the_blocks_before(codec: str) -> None:
    content = container([record(n) for n in range(100)], codec)
    head = content.index(SYNC) + 16
    for cut in range(head, len(content), 97):
        rows = landed(content[:cut])
        assert [row["_reason"] for row in rows[:-1]] == [None] * max(0, len(rows) - 1)
        assert [row["user_id"] for row in rows[:-1]] == [f"u{n}" for n in range(len(rows) - 1)]


def test_a_block_that_would_unpack_to_too_much_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range((LARGEST_BLOCK >> 20) + 1)), packer.flush()])
    assert len(packed) < 100_000
    content = container([record(0)], "deflate")
    size = len(packed) << 1
    bomb = b"\2" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + packed + SYNC
    rows = landed(content + bomb + content[content.index(SYNC) + 16 :])
    assert [row["_reason"] for row in rows] == [None, "too_large", None]
    assert packed in rows[1]["_raw"]


def test_a_rejected_record_of_a_file_can_be_decoded_again() -> None:
    late = record(1, event_ts=datetime(2020, 1, 1, tzinfo=UTC))
    rows = landed(container([record(0), late, record(2)]))
    assert [row["_reason"] for row in rows] == [None, "event_time_out_of_range", None]
    (again,) = landed(rows[1]["_raw"])
    assert again["_reason"] == "event_time_out_of_range"
    assert "2020-01-01" in again["_error"]
    (replayed,) = rows_of("bid_requests", [rows[1]["_raw"]])
    assert replayed["_reason"] == "event_time_out_of_range"


def test_a_record_rejected_afterwards_is_kept_as_a_container() -> None:
    (batch,) = decode_avro_container(
        SOURCES["bid_requests"], io.BytesIO(container([record(0), record(1)])), NOW, limits=LIMITS
    )
    raw = batch.raw(pa.array([False, True])).to_pylist()
    assert raw[0] is None
    (row,) = rows_of_accepted(raw[1])
    assert row["user_id"] == "u1"


def rows_of_accepted(payload: bytes) -> list[dict[str, Any]]:
    rows = rows_of("bid_requests", [payload])
    assert [row["_reason"] for row in rows] == [None], rows
    return rows


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4",
        b"Obj\x01",
        b"Obj\x01\2\x16avro.schema\6{}\0" + SYNC,
        b"Obj\x01" + b"\xff" * 30,
        b"Obj\x01\0" + SYNC,
    ],
)
def test_what_is_no_container_is_said(content: bytes) -> None:
    with pytest.raises(ContainerUnreadable):
        landed(content)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=3)), max_size=5), st.booleans())
def test_any_damage_behind_the_header_costs_no_more_than_its_blocks(
    damages: list[tuple[int, bytes]], insert: bool
) -> None:
    content = container([record(n) for n in range(150)])
    head = content.index(SYNC) + 16
    changed = content
    for place, bytes_there in damages:
        at = head + place % (len(changed) - head)
        changed = changed[:at] + bytes_there + changed[at if insert else at + len(bytes_there) :]
    rows = landed(changed)
    good = {row["user_id"] for row in rows if not row["_reason"]}
    lost = {f"u{n}" for n in range(150)} - good
    assert len(lost) <= 30 * len(damages)


CODES = {404: 40403}  # as Confluent's registry says that it has no such schema


class Answers(BaseHTTPRequestHandler):
    """A registry of one schema; the server has what to answer first."""

    def do_GET(self) -> None:  # the name http.server calls
        server: Any = self.server
        server.asked.append(self.path)
        status = server.failures.pop() if server.failures else 200
        if status == 200 and self.path != "/schemas/ids/1":
            status = 404
        body = json.dumps(
            {"schema": json.dumps(BID)} if status == 200 else {"error_code": CODES.get(status, status)}
        ).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def registry() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.failures = [], []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def bid(schema_id: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(BID), record(1))
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def test_a_registry_is_asked_once_for_each_schema(registry: Any) -> None:
    found = open_registry(url_of(registry) + "/")
    for _ in range(2):
        rows = rows_of("bid_requests", [bid(1), bid(2), bid(1)], registry=found)
        assert [row["_reason"] for row in rows] == [None, "unknown_schema", None]
    assert sorted(registry.asked) == ["/schemas/ids/1", "/schemas/ids/2"]


def test_a_failing_registry_is_asked_again_then_stops_the_landing(registry: Any) -> None:
    registry.failures = [500, 503]
    patient = HttpRegistry(url_of(registry), wait=lambda seconds: None)
    assert [row["_reason"] for row in rows_of("bid_requests", [bid(1)], registry=patient)] == [None]
    registry.failures = [500] * 10
    with pytest.raises(RegistryUnavailable, match="HTTP 500"):
        rows_of("bid_requests", [bid(7)], registry=patient)
    registry.failures = [401]
    with pytest.raises(RegistryUnavailable, match="HTTP 401"):
        rows_of("bid_requests", [bid(8)], registry=patient)


def test_a_registry_that_is_gone_stops_the_landing(registry: Any) -> None:
    gone = HttpRegistry(url_of(registry).replace("127.0.0.1", "127.0.0.2"), wait=lambda seconds: None)
    registry.shutdown()
    with pytest.raises(RegistryUnavailable, match="can't be asked"):
        rows_of("bid_requests", [bid(1)], registry=gone)


def test_random_ids_do_not_flood_the_registry(registry: Any) -> None:
    found = open_registry(url_of(registry))
    payloads = [b"\0" + os.urandom(4) + b"x" for _ in range(1000)]
    assert {row["_reason"] for row in rows_of("bid_requests", payloads, registry=found)} == {"unknown_schema"}
    assert len(registry.asked) <= 200
