"""The demo's topics: creating them anew, sending whole streams, asking how far they are.

Belongs here: talking to the broker. Not here: the broker itself (broker.py), what is sent.
"""

import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ad_lakehouse.demo.delivery import Stream
from ad_lakehouse.errors import LakehouseError

PARTITIONS = 3
TOPICS = ("ad.impressions", "ad.clicks", "ad.conversions", "ad.bid_requests")
# Kafka deletes by the records' own time, and these come with event times of the past.
KEEP = {"retention.ms": "-1"}
PRODUCER: Mapping[str, str | int | bool] = {
    "linger.ms": 20,
    "batch.size": 1 << 20,
    "compression.type": "lz4",
    "enable.idempotence": True,
    "queue.buffering.max.messages": 200_000,
    "log_level": 0,
}


class DemoTopicsBroken(LakehouseError):
    """The demo's broker refuses, or does not have what was published to it."""

    exit_code = 31


def existing_topics(admin: AdminClient) -> set[str]:
    return set(admin.list_topics(timeout=15).topics)


def create_topics(bootstrap: str, *, anew: bool = False, timeout: float = 30) -> None:
    """Creates the topics that are not there; `anew`: deletes them first, with all their records."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        there = existing_topics(admin) & set(TOPICS)
        if anew and there:
            for deleted in admin.delete_topics(sorted(there)).values():
                deleted.result(timeout)
            there = set()
        wanted = {name: NewTopic(name, PARTITIONS, 1, config=KEEP) for name in TOPICS if name not in there}
        deadline = time.monotonic() + timeout
        while wanted:
            for name, created in admin.create_topics(list(wanted.values())).items():
                if _is_there(created, timeout):
                    del wanted[name]
            if wanted and time.monotonic() > deadline:
                raise DemoTopicsBroken(f"Topics {', '.join(wanted)} could not be created in {timeout:.0f} s.")
            if wanted:  # the broker is still deleting one of that name
                time.sleep(0.1)
    except KafkaException as error:
        raise DemoTopicsBroken(
            f"The demo's topics could not be created on {bootstrap}: {error.args[0].str()}.",
            remedy="Start the demo again.",
        ) from None


def _is_there(created: "object", timeout: float) -> bool:
    try:
        created.result(timeout)  # type: ignore[attr-defined]  # a future; confluent_kafka has no types
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True


@contextmanager
def delivering(bootstrap: str, timeout: float = 120) -> Iterator["Sender"]:
    """A sender; at the end all it was given is on the broker, or `DemoTopicsBroken` is raised."""
    sender = Sender(bootstrap)
    yield sender
    sender.finish(timeout)


class Sender:
    """Sends records and remembers the first that failed."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "on_delivery": self._delivered})
        self._failure: str | None = None
        self.sent = 0

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = f"{message.topic()}: {error.str()}"

    def send(self, topic: str, payload: bytes, key: bytes, stamp_ms: int) -> None:
        """Hands over one record; the key decides its partition."""
        while True:
            try:
                self._producer.produce(topic, payload, key, zlib.crc32(key) % PARTITIONS, timestamp=stamp_ms)
                break
            except BufferError:  # the queue is full: let the broker take some
                self._producer.poll(0.05)
        self.sent += 1
        if self.sent % 5_000 == 0:
            self._producer.poll(0)

    def send_stream(self, topic: str, stream: Stream) -> int:
        """Sends all records of a stream in their order; returns how many."""
        stamps = (stream.stamps // 1_000).tolist()
        for payload, key, stamp in zip(stream.payloads, stream.keys, stamps, strict=True):
            self.send(topic, payload, key, stamp)
        return len(stamps)

    def finish(self, timeout: float) -> None:
        left = self._producer.flush(timeout)
        if left or self._failure:
            raise DemoTopicsBroken(
                f"{left} records were not delivered. {self._failure or 'The broker is too slow.'}",
                remedy="Start the demo again; it begins anew.",
            )


def records_on(bootstrap: str, timeout: float = 20) -> dict[str, int]:
    """Records (offsets) of each of the demo's topics that is there.

    A broker that has just started, or created a topic, has no leader for a partition yet: asked again until `timeout`.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ad-lakehouse-demo", "log_level": 0})
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                return _records_of(consumer)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise DemoTopicsBroken(
                        f"The broker at {bootstrap} can't be asked for its topics: {error.args[0].str()}.",
                        remedy="Start the demo again.",
                    ) from None
            time.sleep(0.1)
    finally:
        consumer.close()


def _records_of(consumer: Consumer) -> dict[str, int]:
    there = consumer.list_topics(timeout=15).topics
    return {
        topic: sum(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)[1]
            for partition in there[topic].partitions
        )
        for topic in TOPICS
        if topic in there
    }
