"""Input made to harm a process that lands it: it ends as a rejected row or a broken file, in bounded memory.

Belongs here: what needs a process of its own or a topic. Not here: damage that is told in this process
(tests/unit/test_decode_damage.py).
"""

import gzip
import json
import lzma
import os
import time
import uuid
import zlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import hostile
import pyarrow as pa
import pytest
from hostile import PILLS, bid, bid_bytes, container, deflated, number, record
from landing_topics import (
    impression,
    impressions_from,
    landed_records,
    new_topic,
    publish,
    rows,
    settings_for,
)

from ad_lakehouse.lake import Lake, TableName
from kafka_sinks.consume import ReadFailed
from kafka_sinks.sink import land_topic

BIDS = TableName("bronze", "bid_requests")
BASE = 600  # MiB that a process may hold at most; it has 200 to 300 when it has read a good record
DECODE = """
import json, time
from decoding import rows_of
from hostile import PILLS, bid, bid_bytes

texts = {2 + place: text for place, (text, _) in enumerate(PILLS.values())} | {1: json.dumps(bid())}
class Registry:
    def schema(self, schema_id):
        return texts[schema_id]
def framed(schema_id, body):
    return b"\\0" + schema_id.to_bytes(4, "big") + body
good = framed(1, bid_bytes())
pills = [framed(2 + place, body) for place, (_, body) in enumerate(PILLS.values())]
told = {"alone": {}, "together": []}
for name, pill in zip(PILLS, pills, strict=True):
    begun = time.monotonic()
    (row,) = rows_of("bid_requests", [pill], registry=Registry())
    told["alone"][name] = row["_reason"], time.monotonic() - begun
for row in rows_of("bid_requests", [each for pill in pills for each in (good, pill)] + [good], registry=Registry()):
    told["together"].append(row["_reason"])
"""


def test_a_pill_is_a_rejected_record_and_harms_neither_process_nor_neighbours() -> None:
    ended = hostile.run(DECODE)
    assert ended.code == 0, ended.errors
    assert {name: reason for name, (reason, _) in ended.told["alone"].items()} == {
        name: "too_large" if name == "a list of symbols" else "invalid_avro" for name in PILLS
    }
    assert max(seconds for _, seconds in ended.told["alone"].values()) < 10
    assert ended.told["together"][::2] == [None] * (len(PILLS) + 1)
    assert None not in ended.told["together"][1::2]
    assert ended.peak < BASE


LAND_FILES = """
import sys
from pathlib import Path
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.sources import load_sources

root, folder = sys.argv[1:]
reports = land_files(Lake(root), load_sources(), Path(folder), Settings())
told = {each.path: [each.outcome, each.rows, dict(each.rejected), each.error] for each in reports}
"""


def land(lake: Lake, folder: Path, seconds: float = 60.0) -> hostile.Ended:
    """Lands the folder in a process of its own."""
    return hostile.run(LAND_FILES, lake.root, str(folder), seconds=seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop = tmp_path / "drop"
    drop.mkdir()
    return drop


def test_a_container_with_a_pill_is_told_as_broken_or_lands_it_rejected(lake: Lake, folder: Path) -> None:
    good = json.dumps(bid())
    now = bid_bytes(int(time.time() * 1_000_000))
    contents = {f"pill {place}": container(text, [(1, body)]) for place, (text, body) in enumerate(PILLS.values())}
    contents["unknown codec"] = container(good, [(1, now)], "lzo")
    contents["unpacks a thousandfold"] = container(
        good, [(1, deflated(now)), *[(1, deflated(now + bytes(60 << 20)))] * 5, (1, deflated(now))], "deflate"
    )
    contents["unpacks to too much"] = container(good, [(1, deflated(bytes(65 << 20))), (1, deflated(now))], "deflate")
    contents["a dictionary of 4 GB"] = container(good, [(1, vast_xz(now))], "xz")
    contents["records of no bytes"] = container(json.dumps(record(x="null")), [(256, b"")] * 10_000)
    contents["a block of records of no bytes"] = container(json.dumps(record(x="null")), [(2**40, b"")])
    contents["more records than bytes"] = container(good, [(2**60, now), (1, now)])
    contents["a schema of 0.8 MB with each rejected record"] = container(
        json.dumps(bid(x={"type": "enum", "name": "E", "symbols": [f"S{n:0240d}" for n in range(3_000)]})),
        [(2_000, (b"\0" + bid_bytes(0)) * 2_000)],
    )
    contents["no marker for 400 MB"] = container(good, [(1, now)])
    contents["an enormous header"] = b"Obj\x01" + number(2**62) + b"\0\0" * (1 << 19)
    for name, content in contents.items():
        (folder / f"{name}.avro").write_bytes(content)
    os.truncate(folder / "no marker for 400 MB.avro", 400 << 20)
    (folder / "zz good.avro").write_bytes(container(good, [(3, now * 3)]))
    ended = land(lake, folder)
    assert ended.code == 0, ended.errors
    told = {name.removesuffix(".avro"): tuple(each) for name, each in ended.told.items()}
    assert set(told) == {"zz good", *contents}
    pills = {name: told.pop(name) for name in list(told) if name.startswith("pill")}
    assert {each[:2] for each in pills.values()} == {("broken", 0), ("landed", 1)}
    assert all(rejected for outcome, _, rejected, _ in pills.values() if outcome == "landed")
    assert "Avro codec 'lzo' is not known" in told["unknown codec"][3]
    assert {name: each[:3] for name, each in told.items()} == {
        "zz good": ("landed", 3, {}),
        "unknown codec": ("broken", 0, {}),
        "unpacks a thousandfold": ("landed", 7, {"invalid_avro": 5}),
        "unpacks to too much": ("landed", 2, {"too_large": 1}),
        "a dictionary of 4 GB": ("landed", 1, {"invalid_avro": 1}),
        "records of no bytes": ("landed", 10_000, {"invalid_avro": 10_000}),
        "a block of records of no bytes": ("landed", 1, {"invalid_avro": 1}),
        "more records than bytes": ("landed", 2, {"invalid_avro": 1}),
        "a schema of 0.8 MB with each rejected record": ("landed", 2_000, {"event_time_out_of_range": 2_000}),
        "no marker for 400 MB": ("landed", 2, {"invalid_avro": 1}),
        "an enormous header": ("broken", 0, {}),
    }
    assert ended.peak < 2 * BASE
    again = land(lake, folder)
    assert {outcome for outcome, *_ in again.told.values()} == {"already landed", "broken"}


DECODE_JSON = """
import sys, time
from decoding import MICROS, rows_of

good = b'{"creative_id":"c","user_id":"u","event_ts":%d,"site":"s"}' % MICROS
head = good[:-1] + b","
bombs = {
    "100,000 lists": head + b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 lists that do not close": b"[" * 100_000,
    "100,000 objects": b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    "a million keys": head + b",".join(b'"k%d":%d' % (n, n) for n in range(1_000_000)) + b"}",
    "a million equal keys": head + b",".join([b'"user_id":"v"'] * 1_000_000) + b"}",
    "a text of 20 MiB": head + b'"url":"' + b"x" * (20 << 20) + b'"}',
    "an unknown text of 20 MiB": head + b'"x":"' + b"x" * (20 << 20) + b'"}',
    "a number of a million digits": head + b'"price_micros":' + b"9" * 1_000_000 + b"}",
    "a time of a million digits": good.replace(b"%d" % MICROS, b"9" * 1_000_000),
    "an exponent of a million digits": head + b'"price_micros":1e' + b"9" * 1_000_000 + b"}",
    "2 million escapes": head + b'"url":"' + b"\\u0041" * 2_000_000 + b'"}',
    "20 MiB of blanks": good + b" " * (20 << 20),
    "half of a surrogate": head + b'"url":"\\ud800"}',
}
told = {}
for name, bomb in bombs.items():
    begun = time.monotonic()
    rows = rows_of("impressions", [good, bomb, good])
    assert rows[0]["_reason"] is None and rows[0] == rows[2], name
    told[name] = rows[1]["_reason"], time.monotonic() - begun
"""


def test_json_made_to_harm_is_read_or_rejected_in_bounded_memory_and_time() -> None:
    ended = hostile.run(DECODE_JSON)
    assert ended.code == 0, ended.errors
    assert {name: reason for name, (reason, _) in ended.told.items()} == {
        "100,000 lists": "invalid_json",
        "100,000 lists that do not close": "invalid_json",
        "100,000 objects": "invalid_json",
        "a million keys": None,
        "a million equal keys": None,
        "a text of 20 MiB": None,
        "an unknown text of 20 MiB": None,
        "a number of a million digits": "invalid_type",
        "a time of a million digits": "invalid_type",
        "an exponent of a million digits": "invalid_type",
        "2 million escapes": None,
        "20 MiB of blanks": None,
        "half of a surrogate": "invalid_json",
    }
    assert max(seconds for _, seconds in ended.told.values()) < 15
    assert ended.peak < 3 * BASE


def test_text_files_made_to_harm_land_or_are_told_in_bounded_memory(lake: Lake, folder: Path) -> None:
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    header = b"event_ts,user_id,campaign_id,conversion_type,url\n"
    click = f"{moment},u,c,click,\n".encode()
    zeros = gzip.compress(bytes(64 << 20)) * 6  # members behind each other: 384 MiB out of 384 KB
    files = {
        "100,000 columns.csv": b",".join(b"c%d" % n for n in range(100_000)) + b"\n" + click,
        "a field of 50 MiB.csv": header + click + click[:-1] + b"x" * (50 << 20) + b"\n" + click,
        "a quote that never closes.csv": header + click + b'"' + click * 100_000,
        "a quote in each line.csv": header + (b'"' + click) * 30_000,
        "zeros.jsonl.gz": zeros,
        "zeros.csv.zst": pa.compress(header + bytes(256 << 20), codec="zstd", asbytes=True),
        "trailing.jsonl.gz": gzip.compress(impression(1)) + b"garbage",
        "members.jsonl.gz": gzip.compress(impression(1) + b"\n") + gzip.compress(impression(2)),
        "blank lines.jsonl.gz": gzip.compress(b"\n" * 100_000),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    ended = land(lake, folder)
    assert ended.code == 0, ended.errors
    assert {name: tuple(each[:3]) for name, each in ended.told.items()} == {
        "100,000 columns.csv": ("broken", 0, {}),
        "a field of 50 MiB.csv": ("landed", 3, {"too_large": 1}),
        "a quote that never closes.csv": ("landed", 100_001, {"invalid_csv": 1}),
        "a quote in each line.csv": ("landed", 30_000, {"invalid_csv": 30_000}),
        "zeros.jsonl.gz": ("landed", 1, {"too_large": 1}),
        "zeros.csv.zst": ("landed", 1, {"too_large": 1}),
        "trailing.jsonl.gz": ("broken", 0, {}),
        "members.jsonl.gz": ("landed", 2, {}),
        "blank lines.jsonl.gz": ("landed", 100_000, {"empty": 100_000}),
    }
    assert ended.peak < 3 * BASE


def vast_xz(data: bytes) -> bytes:
    """Packed data whose header asks for a dictionary of 4 GB."""
    packed = bytearray(lzma.compress(data))
    at, end = 12, 12 + (packed[12] + 1) * 4 - 4  # the block's header, which ends in its checksum
    filters = packed.index(b"\x21\x01", at, end)
    packed[filters + 2] = 40
    packed[end : end + 4] = zlib.crc32(packed[at:end]).to_bytes(4, "little")
    return bytes(packed)


LAND_TOPIC = """
import sys
from dataclasses import replace
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import KafkaSettings, LandingSettings, Settings
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import load_sources

root, bootstrap, registry, name, topic = sys.argv[1:]
settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap, schema_registry=registry))
report = land_topic(Lake(root), replace(load_sources()[name], topic=topic), settings)
told = [report.records, dict(report.rejected)]
"""


@pytest.mark.kafka
def test_pills_on_a_topic_go_to_quarantine_and_the_landing_goes_on(kafka, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap, f"pills-{uuid.uuid4().hex[:8]}", 1, **{"max.message.bytes": str(16 << 20)})
    (tmp_path / "1.avsc").write_text(json.dumps(bid()))
    for place, (text, _) in enumerate(PILLS.values()):
        (tmp_path / f"{2 + place}.avsc").write_text(text)
    now = bid_bytes(int(time.time() * 1_000_000))
    good = b"\0\0\0\0\1" + now
    pills = [b"\0" + (2 + place).to_bytes(4, "big") + body for place, (_, body) in enumerate(PILLS.values())]
    publish(
        kafka.bootstrap,
        topic,
        [each for pill in pills for each in (good, pill)] + [good],
        1,
        client={"message.max.bytes": 16 << 20},
    )
    place = (lake.root, kafka.bootstrap, str(tmp_path), "bid_requests", topic)
    first, again = hostile.run(LAND_TOPIC, *place), hostile.run(LAND_TOPIC, *place)
    assert first.code == again.code == 0, first.errors + again.errors
    count = 2 * len(pills) + 1
    assert first.told == [count, {"invalid_avro": len(pills) - 1, "too_large": 1}]
    assert again.told == [0, {}]
    assert landed_records(lake, topic, BIDS) == Counter((0, offset) for offset in range(count))
    kept = rows(lake, "_offset, _raw", BIDS, "_reason is not null")
    assert kept == [(2 * place + 1, pill) for place, pill in enumerate(pills)]
    assert first.peak < 2 * BASE


@pytest.mark.kafka
def test_a_packed_batch_that_unpacks_to_too_much_is_told_and_lands_when_it_is_allowed(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap, "", 1, **{"max.message.bytes": str(64 << 20), "compression.type": "zstd"})
    publish(kafka.bootstrap, topic, [impression(0)], 1)
    # One batch: three records of 20 MiB in a few KB
    client = {"message.max.bytes": 64 << 20, "compression.type": "zstd", "linger.ms": 5_000, "batch.size": 64 << 20}
    publish(kafka.bootstrap, topic, [impression(n, url="x" * (20 << 20)) for n in range(3)], 1, client)
    source = impressions_from(topic)
    small = {"receive.message.max.bytes": "30000000", "fetch.max.bytes": "20000000"}
    settings = settings_for(kafka.bootstrap)
    settings.kafka.client = small | {"fetch.message.max.bytes": "20000000"}
    for _ in range(2):
        with pytest.raises(ReadFailed, match=r"at offset 1: Decompression.*receive\.message\.max\.bytes"):
            land_topic(lake, source, settings)
        assert landed_records(lake, topic).total() == 0
    settings.kafka.client = {}
    report = land_topic(lake, source, settings)
    assert (report.records, report.accepted) == (4, 4)
    assert rows(lake, "_offset, length(url)") == [(0, None), *[(1 + n, 20 << 20) for n in range(3)]]
