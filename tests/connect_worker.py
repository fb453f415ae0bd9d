"""A real worker of Kafka Connect, distributed, on docker/connect/worker.properties, without Docker or Java installed.

Belongs here: fetching, starting, killing it. Not here: connectors, what is tested with them (engines/test_connect.py).
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from server import Server

from ad_lakehouse.artefacts import Artefacts, FetchFailed, fetched
from ad_lakehouse.demo.artefacts import KAFKA_VERSION, KafkaUnavailable, find_java
from ad_lakehouse.demo.broker import LOGGING, free_ports

CONNECT = Artefacts(
    "kafka-connect",
    "Kafka Connect",
    KAFKA_VERSION,
    (
        f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}",
        f"org.apache.kafka:connect-file:{KAFKA_VERSION}",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
    ),
    jars=59,
    size="37 MB",
)
PROPERTIES = Path(__file__).parents[1] / "docker" / "connect" / "worker.properties"
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ConnectMissing(Exception):
    """Kafka Connect can't be had on this machine."""


class ConnectWorker(Server):
    """A worker of the group `group`. `start()` after `kill()` goes on at the same port."""

    name = "Connect"

    def __init__(self, bootstrap: str, group: str, environment: Mapping[str, str]) -> None:
        try:
            jars, java = fetched(CONNECT), find_java()
        except (FetchFailed, KafkaUnavailable) as error:
            raise ConnectMissing(str(error)) from None
        super().__init__()
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOGGING)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        named = {
            "CONNECT_BOOTSTRAP_SERVERS": bootstrap,
            "CONNECT_GROUP": group,
            "CONNECT_LISTENERS": self.url,
            "CONNECT_ADVERTISED_HOST": "127.0.0.1",
            "CONNECT_REPLICATION": "1",
            **environment,
        }
        variables = [f"{name}={value}" for name, value in named.items()]
        logged = f"-Dlog4j2.configurationFile={logging}"
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        self.command = ["env", *variables, java, *JVM, logged, "-cp", f"{jars}/*", main, str(PROPERTIES)]

    def answers(self) -> bool:
        """Whether the worker has joined its group."""
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False

    def get(self, path: str) -> Any:
        """What the worker answers, as JSON; it answers 409 or 500 while it takes up what it was told."""
        deadline = time.monotonic() + 60
        while not (answer := requests.get(f"{self.url}{path}", timeout=30)).ok and time.monotonic() < deadline:
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json()
