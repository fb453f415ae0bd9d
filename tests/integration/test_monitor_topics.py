"""The monitor on topics as they are: one partition busy and one idle, partitions added, busy topics beside quiet ones.

Belongs here: how far windows are complete, and what is read. Not here: what is judged (test_monitor.py).
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from landing_topics import impressions_from, new_topic, wait_until
from monitor_topics import Event, counts, monitor_settings, send
from test_monitor import QUICK, Watching, steady

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.intake import Intake
from ad_lakehouse.monitor.run import Monitor
from ad_lakehouse.monitor.state import State
from kafka_sinks.sources import load_sources

pytestmark = pytest.mark.kafka
# In a process of its own: a producer that shares Python with the monitor makes pauses
BUSY = """
import json, sys, time
from confluent_kafka import Producer
producer, n = Producer({"bootstrap.servers": sys.argv[1], "linger.ms": 0}), 0
while True:
    now = time.time()
    body = {"event_ts": round(now * 1e6), "creative_id": "c", "user_id": "u", "site": "s", "event_id": f"{now}-{n}"}
    producer.produce(sys.argv[2], json.dumps(body), partition=0, timestamp=round(now * 1000))
    producer.poll(0.001)
    n += 1
"""


@contextmanager
def busy(bootstrap: str, topic: str) -> Iterator[None]:
    """Some hundred records a second on partition 0, without a pause."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, bootstrap, topic])
    try:
        yield
        assert process.poll() is None, "the producer has ended"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, int]]:
    """Up to which window each look has found the sources complete."""
    monkeypatch.setattr("ad_lakehouse.monitor.intake.ASK_SECONDS", 0.5)
    found: list[Mapping[str, int]] = []
    judge = State.judge

    def seen(self: State, marks: Mapping[str, int], now: datetime) -> Any:
        found.append(marks)
        return judge(self, marks, now)

    monkeypatch.setattr(State, "judge", seen)
    return found


@pytest.mark.parametrize("once", [True, False], ids=["fell silent", "always empty"])
def test_an_idle_partition_beside_a_busy_one_holds_nothing_back(
    kafka: KafkaBroker, lake: Lake, complete: list[Mapping[str, int]], once: bool
) -> None:
    topic = new_topic(kafka.bootstrap, partitions=2)
    if once:
        send(kafka.bootstrap, topic, steady(time.time() - 5, 1))
    with busy(kafka.bootstrap, topic), Watching(lake, monitor_settings(kafka.bootstrap, **QUICK), topic):
        begun = int(time.time())
        wait_until(lambda: bool(complete) and complete[-1].get("impressions", 0) > begun + 5, 40)
        assert complete[-1]["impressions"] > begun + 5


def test_added_partitions_are_read(kafka: KafkaBroker, lake: Lake, complete: list[Mapping[str, int]]) -> None:
    topic = new_topic(kafka.bootstrap, partitions=1)
    with busy(kafka.bootstrap, topic), Watching(lake, monitor_settings(kafka.bootstrap, **QUICK), topic):
        wait_until(lambda: len(complete) > 3, 40)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result()
        old = int(time.time()) - 300  # when nothing else has happened
        added = [Event(old, time.time(), f"added-{n}") for n in range(50)]
        wait_until(lambda: sent(kafka.bootstrap, topic, added), 20)
        wait_until(lambda: counts(lake)[old] == 50, 40)
        assert counts(lake)[old] == 50


def sent(bootstrap: str, topic: str, events: list[Event]) -> bool:
    """To the partition that was added, once the brokers know of it."""
    described = AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=10).topics[topic]
    if len(described.partitions) < 2:
        return False
    send(bootstrap, topic, events, only=1)
    return True


def test_a_busy_topic_does_not_wait_for_quiet_ones(
    kafka: KafkaBroker, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, quiet = new_topic(kafka.bootstrap, partitions=2), new_topic(kafka.bootstrap, partitions=2)
    begun = time.time() - 600
    send(kafka.bootstrap, topic, steady(begun, 500, a_second=200))
    waited: list[float] = []
    read = Intake.read

    def noted(self: Intake, wait: float) -> int:
        waited.append(wait)
        return read(self, wait)

    monkeypatch.setattr(Intake, "read", noted)
    sources = [impressions_from(topic), replace(load_sources()["clicks"], topic=quiet)]
    settings = monitor_settings(kafka.bootstrap, **QUICK)
    Monitor(lake, [sources[0]], settings).session(until_drained=True)
    alone, waited[:] = sum(waited), []
    send(kafka.bootstrap, topic, steady(begun, 500, a_second=200))
    Monitor(lake, sources, settings).session(until_drained=True)
    assert counts(lake).total() == 200_000
    assert sum(waited) < 2 * alone + 2, "100,000 records are 50 chunks, before each of which it would wait"
