"""Fixtures all tests share: a real broker, a lake in a temporary folder, the shared real data.

In CI (`CI=true`) a missing part fails; elsewhere its tests are skipped with the reason.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from landing_topics import new_topic
from registry_server import RegistryMissing, RegistryServer

from ad_lakehouse.demo.artefacts import KafkaUnavailable
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake

for variable, value in {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "SODA_CORE_TELEMETRY_ENABLED": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
}.items():
    os.environ[variable] = value
for variable in [
    name
    for name in os.environ
    if name.startswith("AD_LAKEHOUSE_")
    and name not in {"AD_LAKEHOUSE_CACHE", "AD_LAKEHOUSE_JAVA", "AD_LAKEHOUSE_TEST_DATA"}
]:
    del os.environ[variable]  # a developer's own settings must not steer a test


def missing(reason: str) -> None:
    """Skips the test, or fails it in CI."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI needs this part: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], None]:
    """Called with the reason where a test's outside part can't be had: skips it, or fails it in CI."""
    return missing


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """One real Apache Kafka broker for the whole session. Tests use topics of their own."""
    try:
        broker = KafkaBroker().start()
    except KafkaUnavailable as error:
        missing(str(error))
        return
    yield broker
    broker.__exit__()


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    """An empty topic of two partitions that no other test uses."""
    return new_topic(kafka.bootstrap)


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryServer]:
    """One real schema registry for the whole session. Tests use subjects of their own; who kills it starts it."""
    try:
        server = RegistryServer()
    except RegistryMissing as error:
        missing(str(error))
        return
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in the test's own folder."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that no one here wrote: OpenRTB samples, the JSON test suite, exchange series."""
    folder = Path(os.environ.get("AD_LAKEHOUSE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        missing(f"{folder} is absent; set AD_LAKEHOUSE_TEST_DATA to the folder of shared real data")
    return folder
