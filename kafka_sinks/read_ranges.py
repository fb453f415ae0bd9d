"""Reading frozen ranges of offsets of a topic as bounded batches: what one run lands.

Belongs here: the end of a range, patience with a silent broker. Not here: the consumer (consume.py), a group's
partitions (member.py), which ranges (positions.py).

No consumer group is joined: the ranges are assigned.
"""

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import TopicPartition

from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.batch import Batch, Growing
from kafka_sinks.cluster import Cluster, KafkaUnreachable, Topic
from kafka_sinks.consume import TopicConsumer
from kafka_sinks.positions import Range

PATIENCE_SECONDS = 30.0  # silence after which the broker counts as gone
IDLE_SECONDS = 2.0  # silence after which the topic is asked for: a deleted topic is just silent


class RangeReader(TopicConsumer):
    """Reads the ranges of one topic."""

    def __init__(
        self, settings: KafkaSettings, cluster: Cluster, topic: Topic, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        super().__init__(settings, cluster, topic)
        self._patience = patience

    def batches(self, ranges: Mapping[int, Range], *, max_rows: int, max_bytes: int) -> Iterator[Batch]:
        """Batches of at most `max_rows` records and about `max_bytes` of payload until each range is read.

        Raises `PositionLost`, `TopicMissing`, `KafkaUnreachable` or `ReadFailed`.
        """
        ends = {partition: each.end for partition, each in ranges.items() if each.start < each.end}
        if not ends:
            return
        growing = Growing({partition: ranges[partition].start for partition in ends})
        self.consumer.assign([TopicPartition(self.topic.name, p, at) for p, at in growing.positions.items()])
        pending = set(ends)
        heard = time.monotonic()
        while pending and not self.stopped.is_set():
            left = sum(ends[partition] - growing.positions[partition] for partition in pending)
            if self.read(growing, min(max_rows - growing.rows, growing.room(max_bytes), left), ends):
                heard = time.monotonic()
            else:
                self._endure(time.monotonic() - heard)
            for partition in [each for each in pending if growing.positions[each] >= ends[each]]:
                pending.discard(partition)
                self.consumer.pause([TopicPartition(self.topic.name, partition)])
            if growing.rows >= max_rows or growing.nbytes >= max_bytes or not pending:
                batch = growing.take()
                if batch is not None:
                    yield batch

    def _endure(self, silent: float) -> None:
        """Nothing came for `silent` seconds: raises when the topic is gone or patience ends."""
        if silent > self._patience:
            told = f" ({self.last_error})" if self.last_error else ""
            raise KafkaUnreachable(
                f"Kafka sent nothing of {self.topic.name} for {self._patience:.0f} s{told}.",
                remedy="Check the broker, then land again: it goes on where it stopped.",
            )
        if silent > IDLE_SECONDS and not self.last_error:
            self.cluster.check_same(self.topic)
