"""Kafka's jars and the Java that runs it. Nothing is downloaded here."""

from pathlib import Path

import pytest

from ad_lakehouse.demo.artefacts import KAFKA, KafkaUnavailable, fetched_jars, find_java


def test_kafka_that_cannot_be_fetched_is_unavailable_and_the_demo_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(folder: Path, work: Path) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setenv("AD_LAKEHOUSE_CACHE", str(tmp_path))
    with pytest.raises(KafkaUnavailable) as caught:
        fetched_jars(fetch=fetch)
    assert str(caught.value) == (
        f"Apache Kafka {KAFKA.version} could not be fetched (ConnectionError). "
        "Maven Central must be reachable. The demo goes on with files only."
    )


def test_the_java_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_JAVA", "/opt/own/java")
    assert find_java() == "/opt/own/java"
