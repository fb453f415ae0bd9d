"""What has been routed: the records of the progress topic, read at the start of a run.

Belongs here: the two kinds of records, reading them. Not here: the topic (topics.py), writing records (sending.py, in
the transaction of the rows they tell of), deciding (routing.py).

`content:<sha256>:<source>` decides: rows that are sent, whether these are all. The source stands in it, so that a file
that was dropped under a name of another source is routed when it gets its own. `file:<name>` is for people
(`route --status`), and saves reading a file again whose content is known.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files.router.topics import SETTING
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, KafkaUnreachable, Topic, client_config, connect
from kafka_sinks.sources import Source

State = Literal["routed", "incomplete", "duplicate", "changed", "broken", "unclaimed"]
READ_SECONDS = 60.0


@dataclass(frozen=True)
class Content:
    """One content: the first `rows` of its records are dealt with; `done` when there are no more.

    `file`: the name it was routed under; `unsent`: how many of the rows could not be sent, `named`: the first of them,
    each with why.
    """

    rows: int = 0
    done: bool = False
    file: str = ""
    unsent: int = 0
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileState:
    """What became of a file, by its name below the folder. `at`: when (UTC, ISO 8601).

    `rows`: those of its content that are sent; `unsent`: those that could not be, `reason` names the first of them.
    """

    name: str
    state: State
    at: str
    sha256: str = ""
    identity: str = ""
    topics: tuple[str, ...] = ()
    rows: int = 0
    unsent: int = 0
    reason: str = ""


@dataclass
class Progress:
    """All that is known: contents by `content_id`, files by name."""

    contents: dict[str, Content] = field(default_factory=dict)
    files: dict[str, FileState] = field(default_factory=dict)

    def add(self, key: str, value: Mapping[str, Any] | None) -> None:
        """Takes a record in; a tombstone forgets. Raises `KeyError`, `TypeError` for what is none of ours."""
        kind, _, name = key.partition(":")
        kinds: dict[str, dict[str, Any]] = {"content": self.contents, "file": self.files}
        known = kinds[kind]
        if value is None:
            known.pop(name, None)
        elif kind == "content":
            known[name] = Content(**{**value, "named": tuple(value["named"])})
        else:
            known[name] = FileState(name=name, **{**value, "topics": tuple(value["topics"])})


def content_id(takers: Sequence[Source], sha256: str) -> str:
    """What a content is known by. Of several sources that share a file the one that takes the rest stands for all."""
    owner = next((source for source in takers if source.split and source.split.rest), takers[0])
    return f"{sha256}:{owner.name}"


def content_record(identity: str, content: Content) -> tuple[bytes, bytes]:
    """Key and value."""
    return f"content:{identity}".encode(), json.dumps(asdict(content)).encode()


def file_record(state: FileState) -> tuple[bytes, bytes]:
    """Key and value."""
    value = {name: each for name, each in asdict(state).items() if name != "name"}
    return f"file:{state.name}".encode(errors="surrogateescape"), json.dumps(value).encode()


def read_progress(settings: Settings, topic: Topic) -> Progress:
    """All committed records. Raises `KafkaUnreachable`, and `ConfigurationError` for a record that is none of ours.

    True for a router that has fenced the others; for a reader it is how things stand now.
    """
    marks = Cluster(settings.kafka).watermarks(topic)
    consumer = connect(
        Consumer,
        client_config(settings.kafka, lambda _: None)
        | {
            "group.id": settings.kafka.group,  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # the broker waits so long at the topic's end, default 500
        },
    )
    progress = Progress()
    try:
        consumer.assign([TopicPartition(topic.name, partition, each.low) for partition, each in marks.items()])
        deadline = time.monotonic() + READ_SECONDS
        left = {partition for partition, each in marks.items() if each.high > each.low}
        while left:
            for message in consumer.consume(1_000, 0.1):
                error = message.error()
                if error is None:
                    _take(progress, message)
                    deadline = time.monotonic() + READ_SECONDS
                elif error.code() == KafkaError._PARTITION_EOF and message.offset() >= marks[message.partition()].high:
                    left.discard(message.partition())
            if time.monotonic() > deadline:
                raise KafkaUnreachable(
                    f"Topic {topic.name} cannot be read to its end.",
                    remedy="Route again. If it stays, look for a transaction that someone else holds open there.",
                )
    finally:
        consumer.close()
    return progress


def _take(progress: Progress, message: Message) -> None:
    value = message.value()
    try:
        progress.add(message.key().decode(errors="surrogateescape"), None if value is None else json.loads(value))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigurationError(
            f"Topic {message.topic()}, partition {message.partition()}, offset {message.offset()}: no record of a "
            "router.",
            remedy=f"Nothing was routed. Let nobody else write there, or name another topic in {SETTING}.",
        ) from None
