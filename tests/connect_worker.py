"""A real worker of Kafka Connect, distributed, on docker/connect/worker.properties, without Docker or Java installed.

Belongs here: fetching, starting, killing it. Not here: connectors, what is tested with them (engines/test_connect.py).
"""

import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from ad_lakehouse.artefacts import Artefacts, FetchFailed, fetched
from ad_lakehouse.demo.artefacts import KAFKA_VERSION, KafkaUnavailable, find_java
from ad_lakehouse.demo.broker import LOGGING, free_ports
from ad_lakehouse.demo.server_process import ServerProcess, last_line

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


class ConnectWorker:
    """A worker of the group `group`.

    `kill()` is kill -9; `start()` goes on at the same port. It ends with this Python.
    """

    def __init__(self, bootstrap: str, group: str, environment: Mapping[str, str]) -> None:
        try:
            jars, java = fetched(CONNECT), find_java()
        except (FetchFailed, KafkaUnavailable) as error:
            raise ConnectMissing(str(error)) from None
        self._folder = Path(tempfile.mkdtemp(prefix="ad-lakehouse-connect-"))
        self.log = self._folder / "worker.log"
        logging = self._folder / "log4j2.properties"
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
        self._command = ["env", *variables, java, *JVM, logged, "-cp", f"{jars}/*", main, str(PROPERTIES)]
        self._running: ServerProcess | None = None

    def start(self, timeout: float = 90) -> "ConnectWorker":
        """Starts and waits until the worker has joined its group."""
        self._running = ServerProcess(self._command, self.log)
        if not self._running.waited_for(self.answers, timeout):
            self.kill()
            raise RuntimeError(f"The worker did not start: {last_line(self.log.read_text(errors='replace'))}")
        return self

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """kill -9, like a crash."""
        if self._running is not None:
            self._running.end(signal.SIGKILL)
        self._running = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def get(self, path: str) -> Any:
        """What the worker answers, as JSON; it answers 409 or 500 while it takes up what it was told."""
        deadline = time.monotonic() + 60
        while not (answer := requests.get(f"{self.url}{path}", timeout=30)).ok and time.monotonic() < deadline:
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json()
