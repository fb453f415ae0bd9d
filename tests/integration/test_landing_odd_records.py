"""Records that are odd as records, not by what stands in them: no key, no payload, strange headers, wrong clocks.

Belongs here: what Kafka allows beside a payload. Not here: payloads (tests/unit/test_decode_*.py).
"""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from landing_oracle import check
from landing_topics import impression, impressions_from, publish, rows, settings_for

from ad_lakehouse.lake import Lake
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka
TOPIC, PARTITION, VALUE, COPIED, HEADER, END = 1, 3, 4, (7, 2), 9, 0  # what rd_kafka_producev is given next


def test_tombstones_null_keys_and_all_headers_are_kept_as_they_came(kafka, lake: Lake, topic: str) -> None:
    headers = [("a", b"1"), ("a", None), ("b", b"\x00\xff"), ("a", b""), ("", b"no key"), ("\u00e4", b"x")]
    told = [{"key": key, "value": value} for key, value in headers]
    good = impression(1)
    sent = [
        # key, payload, headers → headers, reason
        (b"k", None, headers, told, "empty"),
        (None, None, [], None, "empty"),
        (None, good, [], None, None),
        (b"", good, headers[:1], told[:1], None),
        (b"\xff\x00", b"{bad", headers, told, "invalid_json"),
        (None, b"", headers[1:2], told[1:2], "empty"),
        (b"k", good, headers, told, None),
    ]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for key, payload, each, _, _ in sent:
        producer.produce(topic, payload, key=key, headers=each, partition=0)
    assert producer.flush(20) == 0
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    check(lake, kafka.bootstrap, topic)
    expected = [
        (offset, key, found, reason, payload if reason else None)
        for offset, (key, payload, _, found, reason) in enumerate(sent)
    ]
    assert rows(lake, "_offset, _key, _headers, _reason, _raw") == expected


def produce_header(bootstrap: str, topic: str, payload: bytes, name: bytes) -> None:
    """One record with a header of any name: librdkafka takes any bytes, its Python client only texts."""
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "librdkafka" in line}
    library = ctypes.CDLL(loaded.pop())
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    error, config = ctypes.create_string_buffer(512), ctypes.c_void_p(library.rd_kafka_conf_new())
    assert not library.rd_kafka_conf_set(config, b"bootstrap.servers", bootstrap.encode(), error, 512), error.value
    producer = ctypes.c_void_p(library.rd_kafka_new(0, config, error, 512))
    of_size = ctypes.c_size_t
    assert not library.rd_kafka_producev(
        producer,
        *(TOPIC, topic.encode(), PARTITION, 0, VALUE, payload, of_size(len(payload)), *COPIED),
        *(HEADER, name, b"value", of_size(5), END),
    )
    assert not library.rd_kafka_flush(producer, 20_000)
    library.rd_kafka_destroy(producer)


def test_a_header_whose_name_is_no_text_blocks_nothing(
    kafka, lake: Lake, topic: str, unavailable: Callable[[str], None]
) -> None:
    if not Path("/proc/self/maps").exists():
        unavailable("only Linux tells which librdkafka is loaded")
    publish(kafka.bootstrap, topic, [impression(0)], partitions=1)
    produce_header(kafka.bootstrap, topic, impression(1), b"\xff\xfe")
    publish(kafka.bootstrap, topic, [impression(2), b"{bad"], partitions=1, headers=[("h", b"v")])
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    check(lake, kafka.bootstrap, topic)
    kept = [{"key": "h", "value": b"v"}]
    unreadable = [{"key": "\N{REPLACEMENT CHARACTER}", "value": None}]
    assert rows(lake, "_offset, _headers, _reason") == [
        (0, None, None), (1, unreadable, None), (2, kept, None), (3, kept, "invalid_json")
    ]  # fmt: skip


def test_a_clock_that_is_a_day_off_or_jumps_between_runs_loses_and_rejects_nothing_more(
    kafka, lake: Lake, topic: str
) -> None:
    now = datetime.now(UTC)
    for days in (1, -1, 400, 0):
        times = [now, now + timedelta(hours=20), now + timedelta(days=2), now - timedelta(days=500)]
        publish(kafka.bootstrap, topic, [impression(i, event_ts=times[i % 4].isoformat()) for i in range(40)])
        clock = now + timedelta(days=days)
        settings = settings_for(kafka.bootstrap, max_batch_rows=15)
        report = land_topic(lake, impressions_from(topic), settings, clock=lambda clock=clock: clock)
        assert (report.records, dict(report.rejected)) == (40, {"event_time_out_of_range": 20}), f"{days} days off"
        assert (clock, 40) in rows(lake, "_landed_at, count(*)", where="true group by 1")
    check(lake, kafka.bootstrap, topic)
