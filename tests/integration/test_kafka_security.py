"""Kafka behind TLS, SASL and client certificates: who may land does, and each refusal says what to set."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from landing_topics import impression, impressions_from, new_topic, publish, settings_for
from secured_broker import USERS, Authority, Secured, secured_broker

from ad_lakehouse.demo.artefacts import KafkaUnavailable
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import KafkaSettings, Settings
from kafka_sinks.cluster import Cluster, KafkaRefused, KafkaUnreachable
from kafka_sinks.sink import land_topic

PROMPT = 15.0  # seconds; a question to a silent broker is given up after 30 here
CLIENT = Mapping[str, str]


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], None]
) -> Iterator[tuple[Secured, str]]:
    """The broker and a topic of 30 records."""
    try:
        with secured_broker(tmp_path_factory.mktemp("secured")) as found:
            topic = new_topic(found.broker.bootstrap)
            publish(found.broker.bootstrap, topic, [impression(number) for number in range(30)])
            yield found, topic
    except (KafkaUnavailable, FileNotFoundError) as error:  # no Java, no openssl
        unavailable(str(error))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority the broker does not know, nor we that of the broker."""
    return Authority.make(tmp_path_factory.mktemp("authorities") / "other")


def by_password(found: Secured, user: str, password: str, **client: str) -> KafkaSettings:
    usual = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user}
    trusted = {"ssl.ca.location": str(found.authority.certificate)}
    return KafkaSettings(bootstrap_servers=found.sasl, sasl_password=password, client=usual | trusted | client)  # type: ignore[arg-type]


def by_certificate(found: Secured, certificate: Path | None, **client: str) -> KafkaSettings:
    own = {f"ssl.{part}.location": str(certificate) for part in ("certificate", "key")} if certificate else {}
    trusted = {"security.protocol": "SSL", "ssl.ca.location": str(found.authority.certificate)}
    return KafkaSettings(bootstrap_servers=found.mutual, client=trusted | own | client)


def landed(kafka: KafkaSettings, topic: str, folder: Path) -> int:
    settings = Settings(kafka=kafka, landing=settings_for("").landing)
    return land_topic(Lake(str(folder / "lake")), impressions_from(topic), settings).records


def test_a_user_with_its_password_lands(secured: tuple[Secured, str], tmp_path: Path) -> None:
    found, topic = secured
    assert landed(by_password(found, "lake", USERS["lake"]), topic, tmp_path) == 30


def test_a_client_certificate_lands(secured: tuple[Secured, str], tmp_path: Path) -> None:
    found, topic = secured
    assert landed(by_certificate(found, found.authority.sign("lake")), topic, tmp_path) == 30


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("password", ["the user or the password", "AD_LAKEHOUSE_KAFKA__SASL_PASSWORD"]),
        ("mechanism", ["SCRAM-SHA-512", "sasl.mechanism"]),
        ("authority", ["is not trusted", "ssl.ca.location"]),
        ("rights", ["does not let this user", "Topic authorization failed", "Grant"]),
        ("no certificate", ["wants a client certificate", "ssl.certificate.location"]),
        ("a certificate of others", ["wants a client certificate", "ssl.key.location"]),
        ("authority of the certificate's broker", ["is not trusted", "ssl.ca.location"]),
    ],
)
def test_each_refusal_says_what_to_set(
    secured: tuple[Secured, str], other: Authority, wrong: str, words: list[str]
) -> None:
    found, topic = secured
    foreign = {"ssl.ca.location": str(other.certificate)}
    settings = {
        "password": lambda: by_password(found, "lake", USERS["guest"]),
        "mechanism": lambda: by_password(found, "lake", USERS["lake"], **{"sasl.mechanism": "PLAIN"}),
        "authority": lambda: by_password(found, "lake", USERS["lake"], **foreign),
        "rights": lambda: by_password(found, "guest", USERS["guest"]),
        "no certificate": lambda: by_certificate(found, None),
        "a certificate of others": lambda: by_certificate(found, other.sign("lake")),
        "authority of the certificate's broker": lambda: by_certificate(found, other.sign("lake"), **foreign),
    }[wrong]()
    begun = time.monotonic()
    with pytest.raises(KafkaRefused) as refused:
        Cluster(settings, timeout=30).topic(topic)
    assert time.monotonic() - begun < PROMPT
    told = str(refused.value)
    assert all(word in told for word in words), told
    assert not any(secret in told for secret in USERS.values())


def test_a_refusal_that_was_mended_is_not_told_of_a_slow_answer(secured: tuple[Secured, str]) -> None:
    found, topic = secured
    cluster = Cluster(by_password(found, "lake", USERS["lake"]), timeout=30)
    cluster._remember(KafkaError(KafkaError._AUTHENTICATION, "of the password before"))
    found.broker.pause()
    later = threading.Timer(1.5, found.broker.resume)
    later.start()
    begun = time.monotonic()
    try:
        assert cluster.topic(topic).name == topic
    finally:
        later.join()
    assert time.monotonic() - begun > 1, "the answer was slow"


def test_who_speaks_plainly_to_a_broker_that_wants_tls_is_told_of_it(secured: tuple[Secured, str]) -> None:
    found, topic = secured
    with pytest.raises(KafkaUnreachable, match="whether it wants TLS"):
        Cluster(KafkaSettings(bootstrap_servers=found.mutual), timeout=3).topic(topic)


def test_the_command_tells_a_refusal_with_its_code_and_no_secret(secured: tuple[Secured, str], tmp_path: Path) -> None:
    found, _ = secured
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ad_lakehouse_kafka").write_text(json.dumps({"sasl_password": USERS["guest"]}))
    kafka = by_password(found, "lake", "")
    environment = {
        **os.environ,
        "AD_LAKEHOUSE_LAKE": str(tmp_path / "lake"),
        "AD_LAKEHOUSE_SECRETS_DIR": str(secrets),
        "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS": found.sasl,
        "AD_LAKEHOUSE_KAFKA__CLIENT": json.dumps(kafka.client),
    }
    command = [sys.executable, "-m", "ad_lakehouse", "land", "--source", "impressions"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == KafkaRefused.exit_code, done.stderr
    assert "does not accept the user or the password" in done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in USERS.values())
