"""Sending: a transaction of messages, all or none, and what may go wrong with it.

Belongs here: the transactional producer. Not here: what is sent (chunks.py), what it means (routing.py).
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import KafkaUnreachable, client_config, connect

ATTEMPTS = 3
CALL_SECONDS = 30.0
CLOSE_SECONDS = 5.0
COMMIT_SECONDS = 120.0  # after which a commit's answer is given up
QUEUE_KBYTES = 64 << 10  # of messages that wait in the client
FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


class RouterFenced(LakehouseError):
    """Another router with the same progress topic has started; or this one was silent too long."""

    exit_code = 47


class SendFailed(LakehouseError):
    """The broker did not take a transaction, or did not say whether it did."""

    exit_code = 48


class Aborted(Exception):
    """The transaction must be aborted, and can be tried again."""


class Sent(NamedTuple):
    """A message to send; a tuple, since millions are made."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: list[tuple[str, bytes]] | None = None


class Sender:
    """A transactional producer; a context manager. Entering it fences every other one of the same progress topic.

    Raises `KafkaUnreachable`, `SendFailed`, `ConfigurationError`.
    """

    def __init__(self, settings: Settings, largest: int) -> None:
        """`largest`: bytes that a batch of messages may have, for the client not to make larger ones."""
        self._last_error, self._fences = "", False
        defaults = {
            "compression.type": "lz4",
            "linger.ms": "20",
            "queue.buffering.max.kbytes": str(QUEUE_KBYTES),
        }
        config = client_config(settings.kafka, self._remember)
        fixed = {
            "transactional.id": transactional_id(settings),
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": str(largest),
        }
        self._producer = connect(Producer, {**defaults, **config, **fixed})

    def __enter__(self) -> Self:
        """Can be called again after `KafkaUnreachable`: the client goes on where it was."""
        if self._fences:
            return self
        try:
            self._producer.init_transactions(CALL_SECONDS)
            self._fences = True
        except KafkaException as error:
            found = error.args[0]
            if found.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
                raise KafkaUnreachable(
                    f"Kafka does not begin a transaction: {self._last_error or found.str()}.",
                    remedy="Nothing was sent. Check the brokers, and that __transaction_state has enough replicas.",
                ) from None
            raise self._failure(found, "Nothing was sent.") from None
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(KafkaException):  # none is open, but where an error came
            self._producer.abort_transaction(CLOSE_SECONDS)

    def send(self, messages: Callable[[], Iterable[Sent]]) -> None:
        """Sends all messages in one transaction; they are committed when it returns.

        `messages` are asked for again after an abort. Raises `RouterFenced`, `SendFailed`.
        """
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                self._once(messages())
            except Aborted as error:
                problem = str(error)
                self._abort()
            else:
                return
        raise SendFailed(
            f"A transaction was aborted {ATTEMPTS} times: {problem}.",
            remedy="Nothing of it was sent. Route again when the broker takes records; it goes on there.",
        )

    def _once(self, messages: Iterable[Sent]) -> None:
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise self._judged(error.args[0]) from None
        for each in messages:
            self._produce(each)
        self._commit()

    def _produce(self, each: Sent) -> None:
        deadline = time.monotonic() + COMMIT_SECONDS
        while True:
            try:
                self._producer.produce(each.topic, each.value, key=each.key, headers=each.headers)
            except BufferError:  # the client's queue is full
                if time.monotonic() > deadline:
                    raise Aborted(self._last_error or "the broker takes no records") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._judged(error.args[0]) from None
            else:
                return

    def _commit(self) -> None:
        """Commits; asks again while the answer is lost."""
        deadline = time.monotonic() + COMMIT_SECONDS
        while True:
            try:
                self._producer.commit_transaction(CALL_SECONDS)
            except KafkaException as error:
                found = error.args[0]
                if found.retriable() and time.monotonic() < deadline:
                    continue
                raise self._judged(found) from None
            else:
                return

    def _abort(self) -> None:
        try:
            self._producer.abort_transaction(CALL_SECONDS)
        except KafkaException as error:
            raise self._failure(error.args[0], "Nothing of the last transaction was sent. Route again.") from None

    def _judged(self, error: KafkaError) -> Exception:
        if error.txn_requires_abort() and error.code() not in FENCED:
            return Aborted(error.str())
        return self._failure(error, "Whether the last rows were sent is not known here. Route again: it finds out.")

    def _failure(self, error: KafkaError, remedy: str) -> LakehouseError:
        if error.code() in FENCED:
            return RouterFenced(
                "This router was fenced: another one with the same progress topic has started, or this one was "
                "silent for longer than transaction.timeout.ms.",
                remedy="Nothing of its last transaction was sent. Let one router run for a progress topic.",
            )
        return SendFailed(f"The broker refuses: {error.str()}.", remedy=remedy)

    def _remember(self, error: KafkaError) -> None:
        self._last_error = error.str()


def transactional_id(settings: Settings) -> str:
    """One for each progress topic: who writes there fences every other one who does."""
    return f"ad-lakehouse.route:{settings.router.progress_topic}"
