"""From record to committed row: how long records wait in the service. `python -m benchmarks follow`.

Belongs here: a steady stream into a topic, the service in a process of its own, the time between a record's Kafka
timestamp and the commit that holds its row. Not here: landing a backlog (landing.py).
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import duckdb
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from benchmarks.landing import PARTITIONS
from benchmarks.measure import peak_of
from benchmarks.records import impressions

TABLE = TableName("bronze", "impressions")
WARM_UP = 5.0  # seconds of stream that are not counted


@dataclass(frozen=True)
class Waited:
    """Milliseconds from record to committed row, and what the service took meanwhile.

    `rows`: those counted; `rate`: records a second that were really published.
    """

    rows: int
    rate: float
    median: float
    p95: float
    highest: float
    commits: int
    cpu_seconds: float
    peak_bytes: int


def follow(rate: int, seconds: int, max_age: float) -> Waited:
    """Streams records at a rate through the service."""
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        topic = "bench.follow"
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        made = admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])
        made[topic].result(30)
        sources = Path(folder) / "sources"
        sources.mkdir()
        (sources / "impressions.yml").write_text(f"topic: {topic}\n")
        lake = Lake(f"{folder}/lake")
        with service(lake, broker.bootstrap, sources, max_age) as process:
            begun, published = stream(broker.bootstrap, topic, rate, seconds)
            wait_for(lake, published)
            cpu = process.cpu_times()
            peak = peak_of(process.pid)
        return waited(lake, begun, published / seconds, cpu.user + cpu.system, peak)


@contextmanager
def service(lake: Lake, bootstrap: str, sources: Path, max_age: float) -> Iterator[psutil.Process]:
    """The service in a process, ready to land."""
    named = {
        "AD_LAKEHOUSE_LAKE": lake.root,
        "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "AD_LAKEHOUSE_LANDING__SOURCES": str(sources),
    }
    command = [sys.executable, "-m", "ad_lakehouse", "land", "--follow", "--source", "impressions", "--port", "0"]
    running = subprocess.Popen(
        [*command, "--max-age", str(max_age)], env=os.environ | named, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        if "Landing impressions" not in running.stdout.readline():
            raise RuntimeError("the service did not start")
        yield psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait(60)


def stream(bootstrap: str, topic: str, rate: int, seconds: int) -> tuple[float, int]:
    """Publishes at a rate; returns when counting begins (seconds since 1970) and how many records there are."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    records = impressions(7, time.time_ns() // 1000)
    begun, number = time.time(), 0
    while (passed := time.time() - begun) < seconds:
        for payload in islice(records, int(passed * rate) - number):
            producer.produce(topic, payload, partition=number % PARTITIONS)
            number += 1
        producer.poll(0)
        time.sleep(0.005)
    if producer.flush(60):
        raise RuntimeError("not everything was published")
    return begun + WARM_UP, number


def wait_for(lake: Lake, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        table = lake.open_if_exists(TABLE)
        if table is not None and table.count() >= count:
            return
        time.sleep(0.5)
    raise RuntimeError("the service did not land everything")


def waited(lake: Lake, begun: float, rate: float, cpu: float, peak: int) -> Waited:
    """Joins each row's Kafka time with the time of the commit that holds it."""
    table = lake.open(TABLE)
    log = TableLog(lake, TABLE)
    commits = {
        each.note["batch"]: each.info["timestamp"]
        for each in log.since(-1, table.version()) or []
        if each.note.get("batch")
    }
    connection = duckdb.connect()
    connection.execute("create table commits (batch varchar, committed bigint)")
    connection.executemany("insert into commits values (?, ?)", list(commits.items()))
    query = """
        select count(*), quantile_cont(ms, 0.5), quantile_cont(ms, 0.95), max(ms), count(distinct _batch)
        from (select c.committed - epoch_ms(r._timestamp) as ms, r._batch
              from read_parquet($files) r join commits c on c.batch = r._batch
              where epoch_ms(r._timestamp) >= $begun)
    """
    found = connection.execute(query, {"files": table.file_uris(), "begun": int(begun * 1000)}).fetchone()
    assert found is not None
    rows, median, p95, highest, count = found
    return Waited(rows, rate, median, p95, highest, count, cpu, peak)
