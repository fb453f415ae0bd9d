"""Topics with known records, and what a table and an independent consumer hold of them.

Belongs here: what the tests of landing share. Not here: fixtures (conftest.py), assertions.
"""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import connect
from ad_lakehouse.settings import KafkaSettings, LandingSettings, Settings
from kafka_sinks.sources import Source, load_sources

IMPRESSIONS = TableName("bronze", "impressions")


def settings_for(bootstrap: str, **landing: Any) -> Settings:
    """Settings of a test: its broker, its own limits."""
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap, group=f"test-{uuid.uuid4().hex}"),
        landing=LandingSettings(**landing),
    )


def impressions_from(topic: str) -> Source:
    """The built-in source of impressions, read from another topic."""
    return replace(load_sources()["impressions"], topic=topic)


def new_topic(bootstrap: str, name: str = "", partitions: int = 2, **config: str) -> str:
    """Creates a topic that no other test uses, and waits until the broker shows it."""
    name = name or f"impressions-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(20)
    wait_until(lambda: is_described(admin, name))  # the answer comes before the broker's own metadata are new
    return name


def is_described(admin: AdminClient, topic: str) -> bool:
    """Whether the broker knows the topic."""
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result()
    except KafkaException:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition; fails the test when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def impression(number: int, **more: Any) -> bytes:
    """A minimal record, distinct by its number."""
    now = datetime.now(UTC).isoformat()
    record = {"event_ts": now, "creative_id": f"c{number % 7}", "user_id": f"u{number}", "site": "news.example"}
    return json.dumps(record | more).encode()


def publish(
    bootstrap: str,
    topic: str,
    payloads: Iterable[bytes | None],
    partitions: int = 2,
    client: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Publishes the payloads over the partitions in turn; `client`: settings of the producer."""
    producer = Producer({"bootstrap.servers": bootstrap, **(client or {})})
    for number, payload in enumerate(payloads):
        producer.produce(topic, payload, partition=number % partitions, **more)
    assert producer.flush(20) == 0


def filled_topic(bootstrap: str, records: int) -> str:
    """A new topic with so many records, one in nine bad."""
    name = new_topic(bootstrap)
    publish(bootstrap, name, [impression(i) if i % 9 else b"{bad" for i in range(records)])
    return name


@contextmanager
def load(bootstrap: str, topic: str, a_second: int = 300) -> Iterator[None]:
    """Publishes records, one in ten bad, without a pause until the block ends; then waits for their acknowledgement."""
    stop, numbers = threading.Event(), iter(range(10_000_000))

    def produce() -> None:
        producer = Producer({"bootstrap.servers": bootstrap, "topic.metadata.refresh.interval.ms": 500})
        while not stop.wait(0.1):
            for _ in range(a_second // 10):
                number = next(numbers)
                producer.produce(topic, impression(number) if number % 10 else b"{bad", key=str(number).encode())
            producer.poll(0)
        assert producer.flush(60) == 0

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(70)


@dataclass
class Witnessed:
    """What a consumer saw: how often each (partition, offset), and its key and payload."""

    places: Counter[tuple[int, int]] = field(default_factory=Counter)
    records: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = field(default_factory=dict)


def committed_records(bootstrap: str, topic: str, partitions: int = 2) -> Counter[tuple[int, int]]:
    """(partition, offset) of every record that an independent read_committed consumer sees."""
    return witnessed(bootstrap, topic, partitions).places


def witnessed(bootstrap: str, topic: str, partitions: int = 2) -> Witnessed:
    """Every record that an independent read_committed consumer sees."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"witness-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    seen = Witnessed()
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    ended: set[int] = set()
    deadline = time.monotonic() + 30
    while len(ended) < partitions and time.monotonic() < deadline:
        for message in consumer.consume(1_000, 0.1):
            if message.error() is None:
                place = message.partition(), message.offset()
                seen.places[place] += 1
                seen.records[place] = message.key(), message.value()
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    assert len(ended) == partitions, "the witness did not reach the end"
    return seen


def rows(lake: Lake, columns: str, name: TableName = IMPRESSIONS, where: str = "true") -> list[tuple[Any, ...]]:
    """A query of all rows of a bronze table, rejected ones included, sorted."""
    files = lake.open(name).file_uris()
    if not files:
        return []
    source = "read_parquet($files, hive_partitioning=true, hive_types={'event_date': date}, union_by_name=true)"
    query = f"select {columns} from {source} where {where} order by all"
    with connect(lake) as connection:
        return connection.execute(query, {"files": files}).fetchall()


def landed_records(lake: Lake, topic: str, name: TableName = IMPRESSIONS) -> Counter[tuple[int, int]]:
    """(partition, offset) of every row of the topic, accepted or rejected."""
    return Counter(rows(lake, "_partition, _offset", name, f"_topic = '{topic}'"))


def notes(lake: Lake, name: TableName = IMPRESSIONS) -> list[dict[str, Any]]:
    """What each commit wrote of itself, oldest first; {} where it wrote nothing."""
    log = TableLog(lake, name)
    return [commit.note for commit in log.since(-1, lake.open(name).version()) or []]


def delivered(each: Sequence[dict[str, Any]]) -> int:
    """Records that the notes say were delivered."""
    return sum(place.get("records", place.get("rows")) for note in each for place in note.get("delivered", []))
