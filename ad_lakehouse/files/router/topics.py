"""The topics that a router writes to: which are there, what a message may have, the progress topic made.

Belongs here: questions to the broker and the one topic we create. Not here: the progress topic's records (progress.py).
"""

import time
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, Topic, TopicMissing, client_config, connect

SETTING = "AD_LAKEHOUSE_ROUTER__PROGRESS_TOPIC"
CREATED_SECONDS = 20.0
CLIENT_MOST = 1_000_000_000  # that librdkafka takes for a message
LARGEST = 1_000_000  # bytes of a batch, where a topic's own limit may not be seen; librdkafka's default


def ensure_topic(settings: Settings) -> Topic:
    """The progress topic, made when it is not there.

    Raises `KafkaUnreachable`, and `ConfigurationError` when it would forget.
    """
    cluster, name = Cluster(settings.kafka), settings.router.progress_topic
    try:
        topic = cluster.topic(name)
    except TopicMissing:
        return _created(settings, cluster, name)
    kept = topic_config(settings, [name])[name]
    if kept and kept.get("cleanup.policy") != "compact":
        raise ConfigurationError(
            f"Topic {name} has cleanup.policy={kept.get('cleanup.policy')}: it would forget what was routed.",
            remedy=f"Set cleanup.policy=compact, or name another topic in {SETTING}.",
        )
    return topic


def _created(settings: Settings, cluster: Cluster, name: str) -> Topic:
    admin = connect(AdminClient, client_config(settings.kafka, lambda _: None))
    # Of the broker's default replication; one partition, so that its order is that of the commits
    wanted = NewTopic(name, 1, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([wanted])[name].result(CREATED_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise ConfigurationError(
                f"Topic {name} cannot be created: {error.args[0].str()}.",
                remedy=f"Create it with one partition and cleanup.policy=compact, or name another in {SETTING}.",
            ) from None
    deadline = time.monotonic() + CREATED_SECONDS
    while True:  # the answer comes before the broker's own metadata are new
        try:
            return cluster.topic(name)
        except TopicMissing:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def topic_config(settings: Settings, names: list[str]) -> dict[str, dict[str, str]]:
    """The settings of topics; {} for one whose settings we may not see."""
    admin = connect(AdminClient, client_config(settings.kafka, lambda _: None))
    asked = {ConfigResource(ResourceType.TOPIC, name): name for name in names}
    found: dict[str, dict[str, str]] = {}
    for resource, answer in admin.describe_configs(list(asked), request_timeout=10).items():
        try:
            found[asked[resource]] = {key: str(entry.value) for key, entry in answer.result().items()}
        except KafkaException:
            found[asked[resource]] = {}
    return found


def absent_topics(settings: Settings, names: Iterable[str]) -> set[str]:
    """The topics that the broker does not have. Raises `KafkaUnreachable`."""
    cluster, absent = Cluster(settings.kafka), set()
    for name in names:
        try:
            cluster.topic(name)
        except TopicMissing:
            absent.add(name)
    return absent


def largest_message(settings: Settings, topics: list[str]) -> int:
    """Bytes that a message to any of the topics may have, by their settings and the client's."""
    told = topic_config(settings, topics) if topics else {}
    limits = [int(each["max.message.bytes"]) for each in told.values() if "max.message.bytes" in each]
    theirs = min(limits) if limits and len(limits) == len(topics) else LARGEST
    ours = settings.kafka.client.get("message.max.bytes")
    return min(theirs, CLIENT_MOST, int(ours)) if ours else min(theirs, CLIENT_MOST)
