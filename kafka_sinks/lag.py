"""How far landing is behind a topic, and for how long the oldest record has been waiting.

Belongs here: asking, without landing anything. Not here: what is too far (alerts), landing (sink.py).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, TopicPartition

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.batch import LAST_MILLISECOND
from kafka_sinks.cluster import Cluster, Topic, client_config, connect
from kafka_sinks.positions import app_id
from kafka_sinks.sources import Source


@dataclass(frozen=True)
class Lag:
    """One partition: the next offset to land, the last stable offset, the time of the record waiting first."""

    topic: str
    partition: int
    landed: int
    end: int
    oldest: datetime | None = None

    @property
    def waiting(self) -> bool:
        return self.end > self.landed


def topic_lag(
    lake: Lake, source: Source, settings: KafkaSettings, *, times: bool = True, timeout: float = 5.0
) -> list[Lag]:
    """The lag of each partition of the source's topic. With `times` the first waiting record is read for its time.

    Raises `KafkaUnreachable` or `TopicMissing`.
    """
    cluster = Cluster(settings, timeout)
    topic = cluster.topic(str(source.topic))
    table = lake.open_if_exists(TableName("bronze", source.name))
    found = {}
    for partition, marks in cluster.watermarks(topic).items():
        position = table.transaction_version(app_id(topic, partition)) if table else None
        landed = marks.low if position is None else max(position + 1, marks.low)
        found[partition] = Lag(topic.name, partition, landed, marks.stable)
    starts = {partition: each.landed for partition, each in found.items() if each.waiting}
    oldest = first_times(settings, topic, starts, timeout) if times and starts else {}
    return [
        Lag(each.topic, each.partition, each.landed, each.end, oldest.get(each.partition)) for each in found.values()
    ]


def first_times(
    settings: KafkaSettings, topic: Topic, starts: Mapping[int, int], timeout: float
) -> dict[int, datetime]:
    """The time of the first record at or behind each offset; left out where there is none within `timeout` seconds."""
    config = {
        "group.id": settings.group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "enable.partition.eof": True,
        "fetch.message.max.bytes": 65_536,  # one record of each partition is wanted, not the backlog
    }  # fmt: skip
    consumer = connect(Consumer, client_config(settings, lambda _: None) | config)
    found: dict[int, datetime] = {}
    waiting = set(starts)
    try:
        consumer.assign([TopicPartition(topic.name, partition, offset) for partition, offset in starts.items()])
        end = time.monotonic() + timeout
        while waiting and time.monotonic() < end:
            message = consumer.poll(0.1)
            if message is None or message.partition() not in waiting:
                continue
            if message.error() is None:
                kind, milliseconds = message.timestamp()
                if kind != TIMESTAMP_NOT_AVAILABLE and 0 <= milliseconds <= LAST_MILLISECOND:
                    found[message.partition()] = datetime.fromtimestamp(milliseconds / 1000, UTC)
            elif message.error().code() != KafkaError._PARTITION_EOF:
                continue
            waiting.discard(message.partition())
            consumer.incremental_unassign([TopicPartition(topic.name, message.partition())])
    finally:
        consumer.close()
    return found
