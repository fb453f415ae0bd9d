"""Reading a topic from Kafka: the consumer and what it tells.

Belongs here: the client and its memory, events that are no records, being stopped. Not here: records as columns
(batch.py), which offsets, and when a batch is handed on (read_ranges.py, member.py).

Kafka's committed offsets are never read: the table's log says where to go on. Under `read_committed` a partition's
end shows as an end-of-partition event, whose offset lies behind transaction markers, aborted records and offsets
that compaction removed; so the position passes over them.
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.batch import Growing
from kafka_sinks.cluster import MISSING, Cluster, Topic, client_config, connect
from kafka_sinks.memory import RARE_COLLECTION
from kafka_sinks.positions import Gap, position_lost

LOGGER = logging.getLogger(__name__)
CHUNK = 2_000  # messages a call: fewer cost calls, more leave the processor's cache before they are columns
PREFETCH_BYTES = 8 << 20  # what librdkafka may hold ahead of us
CLOSE_SECONDS = 20.0
WAIT_SECONDS = 0.1  # consume() waits this long for a full chunk, also when the end has been reached


class ReadFailed(LakehouseError):
    """The broker sent something that can't be read (a broken checksum, an unknown compression)."""

    exit_code = 23


class TopicConsumer:
    """A consumer of one topic; a context manager that closes it."""

    def __init__(self, settings: KafkaSettings, cluster: Cluster, topic: Topic, **config: Any) -> None:
        self.cluster, self.topic = cluster, topic
        self.last_error = ""
        self.stopped = threading.Event()
        self.consumer = connect(
            Consumer,
            client_config(settings, self._remember)
            | {
                "group.id": settings.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "check.crcs": True,
                # librdkafka stalls 1 s when its local queue is full; the bound on memory is the one in bytes.
                "queued.min.messages": 1_000_000,
                "queued.max.messages.kbytes": PREFETCH_BYTES >> 10,
                "fetch.queue.backoff.ms": 10,
                **config,
            },
        )

    def __enter__(self) -> Self:
        RARE_COLLECTION.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        RARE_COLLECTION.__exit__()
        # In a thread, since librdkafka may wait for a coordinator without end (MembershipLost in member.py)
        closing = threading.Thread(target=self.consumer.close, name="kafka-close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            LOGGER.warning(
                "%s: the consumer could not be closed in %.0f s; it is left.", self.topic.name, CLOSE_SECONDS
            )

    def stop(self) -> None:
        """Ends the reading at its next look, whichever thread reads."""
        self.stopped.set()

    def read(self, growing: Growing, at_most: int, ends: Mapping[int, int] | None = None) -> bool:
        """Adds what has come to the batch: up to so many records, or `CHUNK`, below `ends` (exclusive, by partition).

        Returns whether anything came; the messages go at once, a batch holds copies. Raises what `poll` raises.
        """
        records, reached = self.poll(max(1, min(CHUNK, at_most)))
        if records:
            growing.add(records, ends)
        for partition, offset in reached:
            growing.reach(partition, offset, ends)
        return bool(records or reached)

    def poll(self, at_most: int, wait: float = WAIT_SECONDS) -> tuple[list[Message], list[tuple[int, int]]]:
        """Records that have come, and (partition, offset) of each end of a partition that was reached.

        Waits so many seconds for `at_most` records. Raises `PositionLost`, `TopicMissing` or `ReadFailed`.
        """
        messages = self.consumer.consume(at_most, wait)
        if not any(map(Message.error, messages)):
            return messages, []
        records = [message for message in messages if message.error() is None]
        ends = [self._end_of(message) for message in messages if message.error() is not None]
        return records, [end for end in ends if end is not None]

    def show_position(self, positions: Mapping[int, int], *, wait: bool = True) -> None:
        """Commits positions to the consumer group, for lag displays only: landing does not need it to succeed."""
        told = [TopicPartition(self.topic.name, partition, offset) for partition, offset in positions.items()]
        with suppress(KafkaException):
            self.consumer.commit(offsets=told, asynchronous=not wait)

    def _end_of(self, message: Message) -> tuple[int, int] | None:
        """The partition and offset of an end-of-partition event, None for what passes; raises on any other."""
        error, partition = message.error(), message.partition()
        if error.code() == KafkaError._PARTITION_EOF:
            return partition, message.offset()
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            return None  # the group has given our partitions away; the next poll joins again
        place = f"{self.topic.name}[{partition}] at offset {message.offset()}"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            low = self.cluster.watermarks(replace(self.topic, partitions=(partition,)))[partition].low
            raise position_lost([Gap(self.topic.name, self.topic.topic_id, partition, message.offset(), low)])
        if error.code() in MISSING:  # or a broker that has just started does not know it yet
            self.cluster.check_same(self.topic)
            return None
        if partition < 0:
            raise ReadFailed(f"{self.topic.name}: {error.str()}.", remedy="Check the rights of the consumer group.")
        remedy = "Land again; if it stays, repair the topic at this offset."
        if error.code() == KafkaError._BAD_COMPRESSION:  # said of what unpacks to more than is allowed, too
            remedy = (
                'If the records are sound, raise "receive.message.max.bytes" (default 100000000) in '
                "AD_LAKEHOUSE_KAFKA__CLIENT: what a batch unpacks to must stay below it. Else repair the topic there."
            )
        # Not skipped: librdkafka goes on behind records that it could not read, and they would be lost.
        raise ReadFailed(f"{place}: {error.str()}.", remedy=remedy)

    def _remember(self, error: KafkaError) -> None:
        self.last_error = error.str()
