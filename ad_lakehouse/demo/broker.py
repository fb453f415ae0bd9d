"""A real Apache Kafka broker for the demo and the tests: one KRaft node, no Docker, no Java installation.

Belongs here: starting, killing and ending it. Not here: fetching it (artefacts.py), its process (server_process.py),
topics and messages.
"""

import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ad_lakehouse.demo.artefacts import KafkaUnavailable, fetched_jars, find_java
from ad_lakehouse.demo.server_process import ServerProcess, last_line

PORTS = range(19_000, 32_000)  # below the ephemeral range, where a client could connect to itself
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
LOGGING = """status=off
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
"""
CONFIG: Mapping[str, Any] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": 0,
    **{
        f"{topic}.{what}": 1
        for what in ("replication.factor", "num.partitions")
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    },
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "log.cleaner.dedupe.buffer.size": 16 << 20,  # default: 128 MiB of heap
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 2000,  # a restart after kill -9 waits this out; default 9000
    "log.flush.start.offset.checkpoint.interval.ms": 1000,  # default 60 s: kill -9 undoes DeleteRecords
}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    chosen: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if is_free(port):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise KafkaUnavailable(f"No free port between {PORTS.start} and {PORTS.stop}.", remedy="End other servers.")


class KafkaBroker:
    """A broker as a context manager.

    `folder` keeps its data between two runs (default: a temporary one, gone at exit). `bootstrap` is its address
    for clients. `kill()` is kill -9; `start()` goes on with the same data and port. The broker ends with this
    Python, also when Python is killed -9. Raises `KafkaUnavailable`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        config: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        jars = fetched_jars(say)
        self._temporary = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="ad-lakehouse-kafka-")).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "broker.log"
        self._properties = self.folder / "server.properties"
        logging = self.folder / "log4j2.properties"
        logging.write_text(LOGGING)
        self._java = [find_java(), *JVM, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
        self._running: ServerProcess | None = None
        client, controller = free_ports(2)
        if port is not None and is_free(port):
            client = port
        self.bootstrap = f"127.0.0.1:{client}"
        settings = {
            **CONFIG,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",  # static: data survive a new port
            "log.dirs": self.folder / "data",
            **(config or {}),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def start(self, timeout: float = 90) -> Self:
        """Starts and waits until the broker answers; formats its storage the first time."""
        if not (self.folder / "data" / "meta.properties").exists():
            tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties)]
            done = subprocess.run([*self._java, *tool], capture_output=True, text=True, check=False)
            if done.returncode:
                raise KafkaUnavailable(f"Kafka's storage could not be formatted: {last_line(done.stderr)}")
        self._running = ServerProcess([*self._java, "kafka.Kafka", str(self._properties)], self.log)
        if self._running.waited_for(self._answers, timeout):
            return self
        self.kill()
        raise KafkaUnavailable(
            f"Kafka did not start within {timeout:.0f} s: {last_line(self.log.read_text(errors='replace'))}",
            remedy=f"Its log is {self.log}.",
        )

    def _answers(self) -> bool:
        host, port = self.bootstrap.split(":")
        try:  # a bare connect first: librdkafka waits long after a refused one
            socket.create_connection((host, int(port)), 1).close()
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=2)
        except (OSError, KafkaException):
            return False
        return True

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The broker's process; None when it does not run."""
        return self._running.popen if self._running is not None else None

    def stop(self, timeout: float = 20) -> None:
        """Ends it in order; what does not end in time is killed."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """kill -9, like a crash."""
        self._end(signal.SIGKILL, 10)

    def pause(self) -> None:
        """SIGSTOP: the broker hangs until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._running is not None:
            self._running.send(number)

    def _end(self, number: int, timeout: float) -> None:
        if self._running is not None:
            self._running.end(number, timeout)
        self._running = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
