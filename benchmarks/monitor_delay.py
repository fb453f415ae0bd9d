"""How long after traffic stops the monitor tells, in seconds of the wall, with its default settings.

Belongs here: a real broker, two hours of records, a stop. Not here: delays in event time (faulty_traffic.py).
"""

import json
import tempfile
import threading
import time
from dataclasses import replace

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.run import Monitor
from ad_lakehouse.monitor.watch import Anomaly
from ad_lakehouse.settings import KafkaSettings, Settings
from kafka_sinks.sources import load_sources

HISTORY = 7_200  # seconds before now
A_SECOND = 20
LIVE = 45.0  # seconds of live records before the stop: the monitor has caught up by then
TOPIC = "bench.delay"


def seconds_until_told() -> float:
    """From the last record until the stop is told. Raises `RuntimeError` when it is not within three minutes."""
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(20)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        begun = time.time()
        send(producer, begun - HISTORY, begun)
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap))
        told = threading.Event()

        def hear(change: Anomaly) -> None:
            if change.kind == "stop":
                told.set()

        source = replace(load_sources()["impressions"], topic=TOPIC)
        monitor = Monitor(Lake(folder), [source], settings, told=hear)
        thread = threading.Thread(target=monitor.run)
        thread.start()
        try:
            done = begun
            while done < begun + LIVE:
                time.sleep(0.2)
                now = time.time()
                send(producer, done, now)
                done = now
            if told.is_set() or not told.wait(180):
                raise RuntimeError("the stop was told before it was there, or not within three minutes")
            return time.time() - done
        finally:
            monitor.stop.set()
            thread.join()


def send(producer: Producer, start: float, end: float) -> None:
    """Records of the seconds [start, end), with their own times."""
    for tick in range(round(start * A_SECOND), round(end * A_SECOND)):
        at = tick / A_SECOND
        body = {"event_ts": round(at * 1e6), "event_id": str(tick), "creative_id": "c", "user_id": "u", "site": "s"}
        producer.produce(TOPIC, json.dumps(body).encode(), partition=tick % 2, timestamp=round(at * 1_000))
        producer.poll(0)
    producer.flush(30)
