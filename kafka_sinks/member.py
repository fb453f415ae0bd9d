"""A member of a consumer group: the batches of the partitions that the group gives it, without end.

Belongs here: partitions that come and go, batches by rows, bytes and age. Not here: the consumer (consume.py),
frozen ranges (read_ranges.py), what becomes of the batches (follow.py).

The group only divides the work. A partition is read from the position in the table, whatever the group's own
offsets say; what was read of a partition that is taken away is dropped, and what was handed on before is trimmed by
the commit, which knows how far the partition is landed.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from confluent_kafka import Consumer, TopicPartition

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.batch import Batch, Growing
from kafka_sinks.cluster import Cluster, Topic
from kafka_sinks.consume import TopicConsumer

METADATA_SECONDS = 10  # how soon a partition that was added is seen
IDLE_SECONDS = 10.0  # silence after which the topic is asked for: one that was recreated, or a broker, is just silent
LOOK_SECONDS = 2
ALONE_SECONDS = 20.0  # without a coordinator though the broker answers others: librdkafka will not find it by itself


class MembershipLost(LakehouseError):
    """This member has no coordinator of its group and, as librdkafka is, will not find one again.

    When all brokers it knows were out of the cluster's metadata for a moment, as one is that was frozen or cut off, it
    forgets them and asks nobody any more. Near to that: https://github.com/confluentinc/librdkafka/issues/5511.
    """


@dataclass(frozen=True)
class Flush:
    """When a batch is handed on: at so many rows, bytes, or seconds after its first record came."""

    rows: int
    nbytes: int
    seconds: float


class Member(TopicConsumer):
    """Reads its share of one topic.

    `start` gives the next offset of partitions that are given to it, `end` is told which are taken away.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        cluster: Cluster,
        topic: Topic,
        *,
        start: Callable[[Collection[int]], Mapping[int, int]],
        end: Callable[[Collection[int]], None],
        queue_bytes: int,
    ) -> None:
        super().__init__(
            settings,
            cluster,
            topic,
            **{
                "partition.assignment.strategy": "cooperative-sticky",
                "topic.metadata.refresh.interval.ms": METADATA_SECONDS * 1_000,
                "queued.max.messages.kbytes": max(1, queue_bytes >> 10),
                "statistics.interval.ms": LOOK_SECONDS * 1_000,
                "stats_cb": self._look,
            },
        )
        self._start, self._end = start, end
        self._group, self._joined = settings.group, False
        self._alone_since: float | None = None
        self._growing = Growing({})
        self._landed: SimpleQueue[Mapping[int, int]] = SimpleQueue()

    def __exit__(self, *error: object) -> None:
        self._show_landed()
        super().__exit__(*error)

    def batches(self, flush: Flush) -> Iterator[Batch]:
        """Batches until `stop` is called; the last one is what was held then.

        Raises `PositionLost`, `TopicMissing`, `ReadFailed`, `KafkaUnreachable`, `MembershipLost`, and what `start`
        raises.
        """
        self.consumer.subscribe(
            [self.topic.name], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        growing, heard = self._growing, time.monotonic()
        while not self.stopped.is_set():
            self._show_landed()
            if self.read(growing, min(flush.rows - growing.rows, growing.room(flush.nbytes))):
                heard = time.monotonic()
            elif time.monotonic() - heard > IDLE_SECONDS:
                self.cluster.check_same(self.topic)
                self._check_membership()
                heard = time.monotonic()
            aged = growing.since is not None and time.monotonic() - growing.since >= flush.seconds
            if aged or growing.rows >= flush.rows or growing.nbytes >= flush.nbytes:
                batch = growing.take()
                if batch is not None:  # one that holds no record still moves a position
                    yield batch
        batch = growing.take()
        if batch is not None:
            yield batch

    def joined(self) -> bool:
        """Whether the group has taken us in, as of the last look."""
        return self._joined

    def _look(self, statistics: str) -> None:
        """librdkafka's own word, every few seconds. To ask it or the broker is no way: the one may block the process,
        the other may end it (https://github.com/confluentinc/librdkafka/issues/4605)."""
        group = json.loads(statistics).get("cgrp", {})
        with_coordinator = group.get("state") == "up"
        self._joined = with_coordinator and group.get("join_state") == "steady"
        self._alone_since = None if with_coordinator else self._alone_since or time.monotonic()

    def _check_membership(self) -> None:
        """Raises `MembershipLost`. For when the broker answers others."""
        alone = 0.0 if self._alone_since is None else time.monotonic() - self._alone_since
        if alone >= ALONE_SECONDS:
            raise MembershipLost(
                f"{self.topic.name}: this worker has had no coordinator of its group {self._group} for {alone:.0f} s.",
                remedy="It joins anew.",
            )

    def landed(self, positions: Mapping[int, int]) -> None:
        """Positions to show to the group, of the partitions that are ours at the reader's next look.

        The thread that reads shows them: in any other, a commit waits as long as the first finds no records.
        """
        self._landed.put(positions)

    def _show_landed(self) -> None:
        landed: dict[int, int] = {}
        while not self._landed.empty():
            landed |= self._landed.get()
        ours = {partition: at for partition, at in landed.items() if partition in self._growing.positions}
        if ours:
            self.show_position(ours, wait=False)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = self._start([each.partition for each in partitions]) if partitions else {}
        self._growing.drop(list(starts))
        self._growing.read_from(starts)
        consumer.incremental_assign([TopicPartition(self.topic.name, p, at) for p, at in starts.items()])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [each.partition for each in partitions]
        self._growing.drop(gone)
        self._end(gone)
        consumer.incremental_unassign(partitions)
