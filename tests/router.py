"""Routers in tests: sources with topics of their own, files, and what an independent consumer sees of them.

Belongs here: what the tests of routing share. Not here: assertions on what must hold (tests/integration, tests/faults).
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from landing_topics import new_topic, settings_for

from ad_lakehouse.files.router.progress import Progress, read_progress
from ad_lakehouse.files.router.reports import RouteReport
from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.settings import RouterSettings, Settings
from kafka_sinks.cluster import Cluster
from kafka_sinks.sources import Source, load_sources

PARTITIONS = 2


@dataclass(frozen=True)
class Seen:
    """A message as a consumer saw it."""

    topic: str
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def place(self) -> tuple[str, int]:
        """The content and the row it was."""
        return self.headers["sha256"].decode(), int(self.headers["row"])


class World:
    """A drop folder, topics and a progress topic that no other test uses."""

    def __init__(self, bootstrap: str, folder: Path, *wanted: str, **config: str) -> None:
        self.bootstrap, self.folder, self.name = bootstrap, folder, uuid.uuid4().hex[:8]
        folder.mkdir(exist_ok=True)
        self.sources: dict[str, Source] = load_sources()
        for name in wanted:
            topic = new_topic(bootstrap, f"{name}-{self.name}", PARTITIONS, **config)
            self.sources[name] = replace(self.sources[name], topic=topic)

    def topic(self, source: str) -> str:
        return str(self.sources[source].topic)

    def settings(self, **router: Any) -> Settings:
        settings = settings_for(self.bootstrap)
        settings.router = RouterSettings(progress_topic=f"routed-{self.name}", **router)
        return settings

    def route(self, settings: Settings | None = None, settle_seconds: float = 0.0) -> dict[str, RouteReport]:
        """One run, as a process of its own would do it."""
        with Router(self.sources, self.folder, settings or self.settings()) as router:
            return {each.path: each for each in router.route(settle_seconds)}

    def progress(self) -> Progress:
        settings = self.settings()
        return read_progress(settings, Cluster(settings.kafka).topic(settings.router.progress_topic))

    def seen(self, *sources: str) -> list[Seen]:
        """Every message that a read_committed consumer sees on the sources' topics."""
        return [each for source in sources for each in committed(self.bootstrap, self.topic(source))]


def committed(bootstrap: str, topic: str) -> list[Seen]:
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
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = [], set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(1_000, 0.1):
            if message.error() is None:
                found.append(Seen(topic, message.value(), dict(message.headers() or ())))
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
    consumer.close()
    return found


def places(seen: Sequence[Seen]) -> Counter[tuple[str, int]]:
    """How often each row of each content was seen."""
    return Counter(each.place for each in seen)
