"""Landing rows a second beside raw consumption of the same topic, and beside peers, in the same run.

Belongs here: publishing the records, running the steps one after the other. Not here: the steps.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import kafka_sinks
from ad_lakehouse.demo.broker import KafkaBroker
from benchmarks import kafka_delta_ingest
from benchmarks.measure import Measured, measured
from benchmarks.records import bid_requests, impressions, one_bad_in
from kafka_sinks.sources import load_sources

PARTITIONS = 3
SCHEMA = Path(kafka_sinks.__file__).parent / "schemas" / "bid_requests.avsc"


def publish(bootstrap: str, topic: str, payloads: Iterator[bytes], count: int) -> int:
    """Publishes `count` payloads into a new topic; returns their bytes. Old dates must not empty it: no retention."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])
    made[topic].result(30)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 500_000,
        }
    )
    size = 0
    for number, payload in enumerate(islice(payloads, count)):
        size += len(payload)
        while True:
            try:
                producer.produce(topic, payload, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if not number % 10_000:
            producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("not everything was published")
    return size


@dataclass(frozen=True)
class Landed:
    """One topic: its form, the bytes of its payloads, and what each step took."""

    form: str
    size: int
    raw: Measured
    ours: Measured
    spark: Measured | None
    kdi: Measured | None


def landing(rows: int, *, peers: bool, kdi: str | None) -> list[Landed]:
    """JSON impressions (all good, 1 % bad) and Avro bid requests; with `peers` Spark Structured Streaming, too.

    `kdi`: the binary of kafka-delta-ingest, which lands the good JSON; for Avro it needs a registry's server.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        registry = Path(folder) / "registry"
        registry.mkdir()
        (registry / "1.avsc").write_text(SCHEMA.read_text())
        now = time.time_ns() // 1000
        for number, (form, source, rejected, payloads) in enumerate(
            (
                ("JSON impressions", "impressions", 0, impressions(7, now)),
                ("JSON, 1 % bad", "impressions", -(-rows // 100), one_bad_in(100, impressions(7, now))),
                ("Avro bid requests", "bid_requests", 0, bid_requests(7, now, 1, SCHEMA)),
            )
        ):
            topic = f"bench.{number}"
            size = publish(broker.bootstrap, topic, payloads, rows)
            raw = measured("benchmarks.raw_consume", broker.bootstrap, topic)
            ours = measured(
                "benchmarks.land_once", f"{folder}/lake{number}", broker.bootstrap, topic, source, rejected, registry
            )
            spark = None
            if peers and not rejected:
                table = f"{folder}/spark{number}"
                spark = measured("benchmarks.spark_stream_once", table, broker.bootstrap, topic, source)
            ingested = None
            if kdi and source == "impressions" and not rejected:
                table = f"{folder}/kdi{number}"
                ingested = kafka_delta_ingest.land(kdi, table, broker.bootstrap, topic, load_sources()[source], rows)
            counts = {each.rows for each in (raw, ours, spark, ingested) if each is not None}
            if counts != {rows}:
                raise RuntimeError(f"{form}: published {rows}, but a step has {counts}")
            results.append(Landed(form, size, raw, ours, spark, ingested))
    return results
