"""Every cut and every changed byte of one record and of one file: one row each, or the file told as broken.

Belongs here: damage at each place, one after the other. Not here: pills (tests/faults/test_hostile_input.py).
"""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import fastavro
import hostile
import pyarrow as pa
import pytest
from decoding import NOW, SOURCES, rows_of, rows_of_file

from ad_lakehouse.files.reading import FileBroken
from ad_lakehouse.files.records import text_records
from kafka_sinks.decode import ContainerUnreadable, HeaderUnfit
from kafka_sinks.decode.avro_blocks import BlockBroken, unpacked

BID = dict(SOURCES["bid_requests"].schema)
SMALL = {
    "type": "record",
    "name": "Bid",
    "fields": [
        {"name": "user_id", "type": "string"},
        {"name": "auction_id", "type": "string"},
        {"name": "event_ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "targeting", "type": {"type": "array", "items": "string"}},
    ],
}
MORE = [{"name": "won", "type": ["null", "boolean"]}, {"name": "more", "type": {"type": "map", "values": "double"}}]
WIDER = {**SMALL, "fields": [*SMALL["fields"], *MORE]}
RECORD = {"user_id": "u", "auction_id": "a", "event_ts": NOW, "targeting": ["é"], "won": True, "more": {"k": 0.5}}
CSV = (
    b"event_ts,user_id,campaign_id,conversion_type,note\r\n"
    b'2026-03-01T10:00:00Z,u0,c,click,"a\r\n""b"""\r\n'
    b"2026-03-01T10:00:01Z,u1,c,click,\xc3\xa9\r\n"
    b'2026-03-01T10:00:02Z,"u\n2",c,click,\r\n'
)


class Registry:
    """Gives the schema asked for by any id but unknown ones."""

    def schema(self, schema_id: int) -> str | None:
        return {1: json.dumps(BID), 2: json.dumps(WIDER)}.get(schema_id)


def damaged(content: bytes, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Each place from `begin` on, with the content cut there, and with its byte changed in three ways."""
    for place in range(begin, len(content)):
        yield place, content[:place]
        for change in (0x01, 0x80, 0xFF):
            yield place, content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]


def framed(schema_id: int, schema: dict[str, object], **more: object) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), RECORD | more)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


@pytest.mark.parametrize("schema_id", [1, 2])
def test_a_damaged_record_is_one_row_and_leaves_its_neighbours(schema_id: int) -> None:
    good = framed(schema_id, {1: BID, 2: WIDER}[schema_id])
    variants = [variant for _, variant in damaged(good)]
    together = rows_of("bid_requests", [each for one in variants for each in (good, one)], registry=Registry())
    assert Counter(row["_reason"] for row in together[::2]) == {None: len(variants)}
    assert len({row["event_id"] for row in together[::2]}) == 1
    reasons = Counter(row["_reason"] for row in together[1::2])
    assert {"invalid_avro", "unknown_schema", "empty", None} <= set(reasons)
    for variant, in_batch in zip(variants, together[1::2], strict=True):
        (alone,) = rows_of("bid_requests", [variant], registry=Registry())
        assert alone == in_batch, variant


def landed(name: str, content: bytes) -> list[tuple[int, str | None, str | None]] | str:
    """Row number, user and reason of each row of a file, or how it is told as broken."""
    try:
        rows = rows_of_file(name, content, "bid_requests" if name.endswith(".avro") else "clicks")
    except (FileBroken, ContainerUnreadable, HeaderUnfit) as error:
        return type(error).__name__
    return [(row["_row"], row["user_id"], row["_reason"]) for row in rows]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_damaged_container_keeps_the_blocks_before_or_is_told_as_broken(codec: str) -> None:
    content = container(codec)
    assert landed("bids.avro", content) == [(row, f"u{row}", None) for row in range(3)]
    head = content.index(b"s" * 16) + 16
    second = content.index(b"s" * 16, head) + 16
    # The schema is the same for both codecs, and damaged once
    fixed = content.index(b"avro.codec") - 1 if codec != "null" else 0
    outcomes: Counter[str] = Counter()
    for at, variant in damaged(content, fixed):
        found = landed("bids.avro", variant)
        outcomes[found if isinstance(found, str) else "landed"] += 1
        assert isinstance(found, list) or at < head, at
        assert at < second or (0, "u0", None) in found, at
    assert outcomes["ContainerUnreadable"] > 50
    assert outcomes["landed"] > 200


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": hostile.deflated,
    "snappy": lambda data: pa.compress(data, codec="snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big"),
    "zstandard": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def container(codec: str) -> bytes:
    """Three blocks of one record."""
    bodies = [framed(2, SMALL, user_id=f"u{row}")[5:] for row in range(3)]
    content = hostile.container(json.dumps(SMALL), [(1, PACKERS[codec](body)) for body in bodies], codec)
    return content.replace(hostile.SYNC, b"s" * 16)


@pytest.mark.parametrize("codec", [name for name in PACKERS if name != "null"])
def test_a_damaged_block_is_unpacked_or_called_broken(codec: str) -> None:
    text = b"some words, some words again, and more words" * 3
    packed = PACKERS[codec](text)
    assert unpacked(codec, packed) == text
    broken = 0
    for _, variant in damaged(packed):
        try:
            unpacked(codec, variant)
        except BlockBroken:
            broken += 1
    assert broken >= len(packed), f"{broken} of {4 * len(packed)} variants"


def test_a_damaged_csv_file_has_a_row_for_each_record() -> None:
    assert landed("events.csv", CSV) == [(0, "u0", None), (1, "u1", None), (2, "u\n2", None)]
    header = CSV.index(b"\r\n") + 2
    second, third = CSV.index(b"2026-03-01T10:00:01Z"), CSV.index(b"2026-03-01T10:00:02Z")
    payloads: list[bytes] = []
    files: list[tuple[int, int]] = []
    for at, variant in damaged(CSV, header):
        (batch,) = text_records(io.BytesIO(variant), max_rows=99, max_bytes=1 << 20, quoted=True, skip=1)
        payloads += batch.payloads.to_pylist()
        files.append((at, len(batch.payloads)))
    rows = iter(rows_of("clicks", payloads, header=CSV[: header - 2].decode().split(",")))
    for at, count in files:
        users = [row["user_id"] for row in islice(rows, count)]
        assert at < second or users[0] == "u0", at
        assert at < third or users[1] == "u1", at
    assert next(rows, None) is None


def test_a_damaged_csv_header_is_told_or_costs_no_row() -> None:
    header = CSV.index(b"\r\n")
    told = Counter(
        found if isinstance(found := landed("events.csv", variant), str) else len(found)
        for _, variant in damaged(CSV[:header], 0)
        for variant in [variant + CSV[header:]]
    )
    assert told["HeaderUnfit"] > 20, told
    assert told[3] > 80, told


def test_a_damaged_gzip_lands_nothing_unless_its_content_is_whole() -> None:
    content = gzip.compress(CSV, mtime=0)
    whole = landed("events.csv", CSV)
    told = Counter()
    for at, variant in damaged(content):
        found = landed("events.csv.gz", variant)
        assert found in (whole, "FileBroken") or not variant, at
        told[str(found)] += 1
    assert told["[]"] == 1  # cut to nothing: an empty file
    assert told["FileBroken"] > len(content) * 3
