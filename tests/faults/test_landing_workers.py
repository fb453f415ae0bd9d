"""Workers of the landing service that come, go, freeze and die, on a broker that dies: no record is lost or doubled.

Belongs here: processes of the service on a real broker, and what hits them. Not here: one healthy service
(tests/integration), landing once (test_kill_sink.py).
"""

import json
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from landing_oracle import wait_and_check
from landing_service import Worker, ended, health, metrics, shares, wait_landed
from landing_topics import (
    impression,
    landed_records,
    load,
    new_topic,
    notes,
    rows,
    wait_until,
)

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from benchmarks.measure import peak_of

pytestmark = pytest.mark.kafka
# As librdkafka 2.16 was seen in the soak: it says so of itself, hears nothing, is out of its group, and closing it does
# not come back. That takes an unlucky moment, so the real client is put out of reach.
DEAF_AFTER_300_RECORDS = """
import time
from kafka_sinks import consume, member
member.IDLE_SECONDS, member.ALONE_SECONDS, consume.CLOSE_SECONDS = 1.0, 3.0, 1.0

class Deaf:
    def __init__(self, real, look):
        self.real, self.look = real, look  # the real one leaves its group when it was not asked for too long
    def __getattr__(self, name):
        return getattr(self.real, name)
    def consume(self, *_):
        time.sleep(0.1)
        self.look('{"cgrp": {"state": "query-coord", "join_state": "init"}}')
        return []
    def close(self):
        time.sleep(3_600)

poll, heard = consume.TopicConsumer.poll, []
def until_deaf(self, at_most):
    records, ends = poll(self, at_most)
    before = len(heard)
    heard.extend(records)
    if before < 300 <= len(heard):
        self.consumer = Deaf(self.consumer, self._look)
    return records, ends
consume.TopicConsumer.poll = until_deaf
"""
CONFLICTS = 'ad_lakehouse_sink_conflicts_total{source="impressions"}'
# Its third batch is written and not committed; the group gives its partitions away meanwhile.
FROZEN_BEFORE_THE_THIRD_COMMIT = """
import os, signal, time
from kafka_sinks.commit import BronzeTable
commit, calls = BronzeTable._commit, []
def last(*how):
    calls.append(None)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.5)  # the signal may reach another thread first, and this one must not commit meanwhile
    commit(*how)
BronzeTable._commit = last
"""


def test_workers_come_and_go_while_partitions_are_added(kafka, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap, partitions=3)

    def worker() -> Worker:
        return Worker(lake, kafka.bootstrap, topic, topic, tmp_path)

    first = worker()
    with ended(first):
        with load(kafka.bootstrap, topic):
            wait_until(lambda: shares([first], 3), 60)
            second = worker()
            with ended(second):
                wait_until(lambda: shares([first, second], 3), 60)
                admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
                admin.create_partitions([NewPartitions(topic, 12)])[topic].result(20)
                third, fourth = worker(), worker()
                with ended(third, fourth):
                    wait_until(lambda: shares([first, second, third, fourth], 12), 90)
                    assert second.end() == 0
                    third.end(signal.SIGKILL)
                    assert fourth.end() == 0
                    wait_until(lambda: shares([first], 12), 60)
        wait_and_check(lake, kafka.bootstrap, topic, 12)
        assert first.end() == 0, first.log.read_text()


def test_a_zombie_lands_nothing_twice(kafka, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap)
    with load(kafka.bootstrap, topic):
        zombie = Worker(lake, kafka.bootstrap, topic, topic, tmp_path, FROZEN_BEFORE_THE_THIRD_COMMIT)
        with ended(zombie):
            wait_until(lambda: psutil.Process(zombie.process.pid).status() == psutil.STATUS_STOPPED, 60)
            before = landed_records(lake, topic)
            heir = Worker(lake, kafka.bootstrap, topic, topic, tmp_path)
            with ended(heir):
                wait_until(lambda: shares([heir], 2), 60)
                # of each partition, whichever the zombie holds
                wait_until(lambda: len({partition for partition, _ in landed_records(lake, topic) - before}) == 2, 60)
                zombie.send(signal.SIGCONT)
                wait_until(lambda: metrics(zombie.port).get(CONFLICTS, 0) > 0, 60)
                wait_until(lambda: shares([zombie, heir], 2), 60)
                assert zombie.end() == 0, zombie.log.read_text()
                assert heir.end() == 0, heir.log.read_text()
    last = Worker(lake, kafka.bootstrap, topic, topic, tmp_path)
    with ended(last):
        wait_and_check(lake, kafka.bootstrap, topic, 2)


@pytest.mark.parametrize("freeze", [False, True], ids=["killed", "frozen"])
def test_a_broker_that_dies_or_freezes_is_waited_for(lake: Lake, tmp_path: Path, freeze: bool) -> None:
    with KafkaBroker() as broker:
        topic = new_topic(broker.bootstrap)
        worker = Worker(lake, broker.bootstrap, topic, topic, tmp_path)
        with ended(worker):
            with load(broker.bootstrap, topic):  # so that it dies with records in hand
                wait_landed(lake, topic, 200)
                if freeze:
                    broker.pause()
                    time.sleep(8)  # past the session
                    broker.resume()
                else:
                    broker.kill()
                    # past the patience of a reader that hears nothing, and of its question then
                    wait_until(lambda: health(worker.port)[0] == 503, 60)
                    time.sleep(25)
                    broker.start()
                time.sleep(1)
            wait_and_check(lake, broker.bootstrap, topic, 2)
            assert health(worker.port)[0] == 200
            assert worker.end() == 0, worker.log.read_text()


def test_a_worker_whose_client_finds_no_coordinator_joins_anew(kafka, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap)
    silent = {"session.timeout.ms": "6000", "max.poll.interval.ms": "6000"}
    worker = Worker(
        lake, kafka.bootstrap, topic, topic, tmp_path, DEAF_AFTER_300_RECORDS,
        AD_LAKEHOUSE_KAFKA__CLIENT=json.dumps(silent),
    )  # fmt: skip
    with ended(worker):
        with load(kafka.bootstrap, topic):
            wait_until(lambda: "has had no coordinator" in worker.log.read_text(), 60)
            landed = landed_records(lake, topic).total()
            wait_landed(lake, topic, landed + 500)
        wait_and_check(lake, kafka.bootstrap, topic, 2)
        wait_until(lambda: health(worker.port)[0] == 200)
        assert "could not be closed" in worker.log.read_text()
        assert worker.end() == 0, worker.log.read_text()


def test_workers_killed_at_random_moments_lose_nothing(kafka, lake: Lake, tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    moments = random.Random(seed)
    topic = new_topic(kafka.bootstrap, partitions=4)
    with load(kafka.bootstrap, topic, 1_000):
        for _ in range(4):
            worker = Worker(lake, kafka.bootstrap, topic, topic, tmp_path, AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS="200")
            with ended(worker):
                wait_until(lambda worker=worker: bool(worker.partitions()), 60)
                time.sleep(moments.uniform(0, 1.5))
                assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    last = Worker(lake, kafka.bootstrap, topic, topic, tmp_path)
    with ended(last):
        wait_and_check(lake, kafka.bootstrap, topic, 4, f"seed {seed}")
        assert last.end() == 0
    assert sum(bool(note.get("delivered")) for note in notes(lake)) > 4, "several batches were landed"


def test_memory_stays_under_its_limit_with_huge_records_many_days_and_a_backlog(
    kafka, lake: Lake, tmp_path: Path
) -> None:
    topic = new_topic(kafka.bootstrap, **{"max.message.bytes": "22000000", "retention.ms": "-1"})
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 22_000_000, "queue.buffering.max.kbytes": 200_000}
    )
    now = datetime.now(UTC)
    days = [(now - timedelta(days=each)).isoformat() for each in range(390)]
    huge, small = 20, 40_000
    for number in range(small):
        producer.produce(topic, impression(number, event_ts=days[number % 390]), partition=number % 2)
        if not number % 10_000:
            producer.flush(60)
        if not number % (small // huge):
            producer.produce(topic, impression(number, url="u" * 20_000_000), partition=number % 2)
    assert producer.flush(120) == 0
    worker = Worker(
        lake, kafka.bootstrap, topic, topic, tmp_path, AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS="50000"
    )  # with the default bound, 1 GiB
    with ended(worker):
        wait_landed(lake, topic, small + huge, 120)
        peak = peak_of(worker.process.pid)
        assert worker.end() == 0, worker.log.read_text()
    assert rows(lake, "count(*), count(distinct event_date)", where="_reason is null") == [(small + huge, 390)]
    assert peak < 1 << 30
