"""What the Kafka cluster says of itself: its id, a topic's id and partitions, where each partition begins and ends.

Belongs here: questions to the AdminClient, the client configuration, and the errors when Kafka does not answer.
Not here: reading records (consume.py), what has been landed (positions.py).
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.settings import KafkaSettings

LOGGER = logging.getLogger("kafka_sinks.librdkafka")
LOGGER.addHandler(logging.NullHandler())  # a command tells the cause itself, once; a service sets up logging
Client = TypeVar("Client")
CLIENT_SETTING = "AD_LAKEHOUSE_KAFKA__CLIENT"
SASL_SETTING = "AD_LAKEHOUSE_KAFKA__SASL_PASSWORD"
BOOTSTRAP_SETTING = "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS"
FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
LOOK_SECONDS = 0.2  # how often an unanswered question looks whether the broker has refused us meanwhile
MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError.TOPIC_EXCEPTION}


class KafkaUnreachable(LakehouseError):
    """No broker answers, refuses us, or stopped answering. Nothing of the current batch was written."""

    exit_code = 20


class KafkaRefused(KafkaUnreachable):
    """A broker answers, but not to us: TLS, the password or our rights do not fit."""

    exit_code = 46


class TopicMissing(LakehouseError):
    """The topic is not there, or was deleted or recreated while it was read."""

    exit_code = 21
    own = False  # the user's own YAML names it


@dataclass(frozen=True)
class Topic:
    """One topic of one cluster. A recreated topic has another `topic_id`, so it is another topic."""

    cluster_id: str
    name: str
    topic_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class Watermarks:
    """Offsets of one partition: the first still kept, the last stable one, the end (each but `low` exclusive)."""

    low: int
    stable: int
    high: int


def client_config(settings: KafkaSettings, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """librdkafka's configuration for any client of ours. Raises `ConfigurationError` when no broker is named."""
    if not settings.bootstrap_servers:
        raise ConfigurationError(
            f"No Kafka broker is configured: {BOOTSTRAP_SETTING} is empty.",
            remedy=f"Set {BOOTSTRAP_SETTING}, for example to localhost:9092.",
        )
    password = {"sasl.password": settings.sasl_password.get_secret_value()} if settings.sasl_password else {}
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        # A broker that is down would otherwise be tried, and told on standard error, every 50 ms.
        "reconnect.backoff.ms": 500,
        "logger": LOGGER,
        "error_cb": on_error,
        **settings.client,
        **password,
    }


def connect(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """A client with this configuration. Raises `ConfigurationError` naming what librdkafka refuses."""
    try:
        return kind(config)
    except (KafkaException, ValueError, TypeError) as error:
        told = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        secret = f", and the secret {SASL_SETTING}" if "sasl.password" in told else ""
        raise ConfigurationError(
            f"Kafka client settings are wrong: {told}.", remedy=f"Correct {CLIENT_SETTING}{secret}."
        ) from None


class Cluster:
    """The cluster that the settings name. Questions wait at most `timeout` seconds."""

    def __init__(self, settings: KafkaSettings, timeout: float = 10.0) -> None:
        self._servers = settings.bootstrap_servers
        self._timeout = timeout
        self._last_error: KafkaError | None = None
        self._admin = connect(AdminClient, client_config(settings, self._remember))

    def topic(self, name: str) -> Topic:
        """Raises `KafkaUnreachable` or `TopicMissing`."""
        cluster_id = self._answer(self._admin.describe_cluster(request_timeout=self._timeout)).cluster_id
        request = self._admin.describe_topics(TopicCollection([name]), request_timeout=self._timeout)
        try:
            found = self._result(request[name])
        except KafkaException as error:
            if error.args[0].code() in MISSING:
                raise TopicMissing(
                    f"Topic {name} does not exist on {self._servers}.",
                    remedy="Create it, or correct `topic` in the source's YAML.",
                ) from None
            raise self._unreachable(error) from None
        return Topic(
            cluster_id, name, str(found.topic_id), tuple(sorted(partition.id for partition in found.partitions))
        )

    def check_same(self, topic: Topic) -> None:
        """Raises `TopicMissing` when the topic was deleted or recreated since it was described.

        Records read before this call then belong to `topic`: a recreation would have shown another id already.
        """
        now = self.topic(topic.name)
        if (now.cluster_id, now.topic_id) != (topic.cluster_id, topic.topic_id):
            raise TopicMissing(
                f"Topic {topic.name} was recreated while it was read (id {topic.topic_id} is now {now.topic_id}).",
                remedy="Land it again: the new topic is read from its beginning.",
            )

    def watermarks(self, topic: Topic) -> dict[int, Watermarks]:
        """Where each partition begins and ends now."""
        low = self._offsets(topic, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(topic, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        high = self._offsets(topic, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        return {each: Watermarks(low[each], stable[each], high[each]) for each in topic.partitions}

    def _offsets(self, topic: Topic, which: OffsetSpec, isolation: IsolationLevel) -> Mapping[int, int]:
        request = {TopicPartition(topic.name, partition): which for partition in topic.partitions}
        answers = self._admin.list_offsets(request, isolation_level=isolation, request_timeout=self._timeout)
        return {asked.partition: self._answer(answer).offset for asked, answer in answers.items()}

    def _answer(self, future: Any) -> Any:
        try:
            return self._result(future)
        except KafkaException as error:
            raise self._unreachable(error) from None

    def _result(self, future: Future[Any]) -> Any:
        """Raises `KafkaRefused` as soon as the broker has said no: librdkafka would go on asking."""
        self._last_error = None  # what hindered an earlier question may be mended; what still does is told again
        while True:
            with suppress(TimeoutError):
                return future.result(LOOK_SECONDS)
            self._admin.poll(0)
            if self._last_error is not None and (refused := refusal(self._servers, self._last_error)):
                raise refused

    def _unreachable(self, error: KafkaException) -> KafkaUnreachable:
        self._admin.poll(0)  # delivers pending error callbacks: they name the cause (refused, unknown host, TLS)
        cause = self._last_error or error.args[0]
        return refusal(self._servers, cause) or KafkaUnreachable(
            f"Kafka at {self._servers} does not answer: {cause.str()}.",
            remedy=f"Check that the broker runs, that {BOOTSTRAP_SETTING} is right, and whether it wants TLS "
            f'("security.protocol" in {CLIENT_SETTING}).',
        )

    def _remember(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self._last_error is None:  # which tells no cause
            self._last_error = error


def refusal(servers: str, error: KafkaError) -> KafkaRefused | None:
    """What a broker's no means for who has to set something; None when the error is no refusal."""
    told = error.str()
    if error.code() == KafkaError._AUTHENTICATION:
        return KafkaRefused(
            f"Kafka at {servers} does not accept the user or the password: {told}.",
            remedy=f'Check "sasl.username", "sasl.mechanism" in {CLIENT_SETTING}, and the secret {SASL_SETTING}.',
        )
    if error.code() in FORBIDDEN:
        return KafkaRefused(
            f"Kafka at {servers} does not let this user do that: {told}.",
            remedy="Grant it Describe and Read on the topics and the consumer group.",
        )
    if "certificate verify failed" in told:
        return KafkaRefused(
            f"The certificate of Kafka at {servers} is not trusted: {told}.",
            remedy=f'"ssl.ca.location" in {CLIENT_SETTING} must name the certificate of the authority that signed it.',
        )
    if "certificate required" in told or "alert bad certificate" in told or "alert unknown ca" in told:
        return KafkaRefused(
            f"Kafka at {servers} wants a client certificate that it trusts: {told}.",
            remedy=f'Set "ssl.certificate.location" and "ssl.key.location" in {CLIENT_SETTING}.',
        )
    return None
