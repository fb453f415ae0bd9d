"""The Spark session of this process, and a connection on it as dbt-spark wants one.

Belongs here: its settings and start, running one statement. Not here: fetching jars and finding Java (artefacts.py),
connections to a Thrift server (dbt-spark's own).

One session a process, which dbt's threads share and a later run in the same process finds warm.
"""

import atexit
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from dbt.adapters.spark.session import Connection, Cursor, SessionConnectionWrapper
from dbt_common.exceptions import DbtDatabaseError

from ad_lakehouse.dbt_delta.invocation import speaking_to_dbt
from ad_lakehouse.dbt_spark.agreement import AGREEMENT
from ad_lakehouse.dbt_spark.artefacts import require_spark
from ad_lakehouse.dbt_spark.object_store import SECRETS, is_s3, s3a_settings
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings, load_settings

DELTA: Mapping[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
JAVA_OPTIONS = "spark.driver.extraJavaOptions"
LOCAL: Mapping[str, str] = {
    "spark.sql.catalogImplementation": "in-memory",  # no Derby database in the working folder
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Defaults are made for clusters (200 and 50 tasks); a lake on one machine is mostly small.
    "spark.sql.shuffle.partitions": "8",
    "spark.databricks.delta.snapshotPartitions": "1",
    # The default, 10 MB, counts what a join is made of, not what is left after a filter.
    "spark.sql.autoBroadcastJoinThreshold": "32m",
    # Java would interpret methods of more than 8,000 bytes for ever, and a model with a dozen joins is one such; and it
    # would drop compiled code, and compile it again, when 240 MB are full.
    JAVA_OPTIONS: "-XX:-DontCompileHugeMethods -XX:ReservedCodeCacheSize=512m",
}
LOG = "spark.log"
LOGGING = """status=off
appender.out.type=Console
appender.out.name=OUT
appender.out.target=SYSTEM_ERR
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n%ex
rootLogger.level=error
rootLogger.appenderRef.out.ref=OUT
"""
_starting = RLock()
_started: list[Any] = []  # the session of this process
_folders: list[Path] = []  # and where it spills and logs


def session() -> Any:
    """The session, started on first use (about ten seconds). Raises `SparkUnavailable`."""
    with _starting:
        if not _started:
            _started.append(start(load_settings()))
            atexit.register(stop)
        return _started[0]


def stop() -> None:
    """Ends the session and its Java process; the next statement starts another one."""
    with _starting:
        for each in _started:
            each.stop()
        _started.clear()
        end_java()
        while _folders:
            shutil.rmtree(_folders.pop(), ignore_errors=True)


def end_java() -> None:
    """Also ends py4j's thread, which else lives into Python's own end, where libraries complain of what it holds."""
    from py4j.clientserver import SHUTDOWN_FINALIZER_WORKER, FinalizerWorker
    from pyspark import SparkContext

    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    if gateway is not None:
        gateway.shutdown()
        gateway._gateway_client.finalizer_deque.appendleft(SHUTDOWN_FINALIZER_WORKER)
        for thread in threading.enumerate():
            if isinstance(thread, FinalizerWorker):
                thread.join(timeout=5)


def start(settings: Settings) -> Any:
    """A new session. What Java says goes to `spark.log` beside what it spills, which is gone when the session ends."""
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)  # repeats each SQL error as JSON
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("ad-lakehouse")
    if settings.spark.remote:
        for name, value in {**settings.spark.conf, **AGREEMENT}.items():
            builder = builder.config(name, value)
        return builder.remote(settings.spark.remote).getOrCreate()
    lake = Lake(settings.lake, settings.storage_options)
    parts = require_spark(s3=is_s3(lake))
    folder = own_folder(settings)
    os.environ["JAVA_HOME"] = str(parts.java_home)  # pyspark finds Java by it
    config = configuration(settings, lake, [str(jar) for jar in parts.jars], folder)
    launch(config, folder)
    _folders.append(folder)
    for name, value in config.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def own_folder(settings: Settings) -> Path:
    """Where this process's Spark spills and logs."""
    base = settings.transform.temp_folder or Path(tempfile.gettempdir())
    folder = base / f"ad-lakehouse-spark-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def configuration(settings: Settings, lake: Lake, jars: list[str], folder: Path) -> dict[str, str]:
    """All settings of a session that this process drives; a user's own ones win, but for those that decide results."""
    return {
        **(LOCAL if settings.spark.master.startswith("local") else {}),
        **DELTA,
        "spark.master": settings.spark.master,
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.jars": ",".join(jars),
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **s3a_settings(lake),
        **settings.spark.conf,
        **AGREEMENT,
    }


def launch(config: Mapping[str, str], folder: Path) -> None:
    """Starts Java apart from the session: only so can its messages be kept off our own output.

    Secrets are left to the session, which tells Java by a socket: here they would stand in its command line.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is not None:
        return
    logging_config = folder / "log4j2.properties"
    logging_config.write_text(LOGGING)
    conf = SparkConf(loadDefaults=False).setAll([each for each in config.items() if each[0] not in SECRETS])
    own = config.get(JAVA_OPTIONS, "")
    conf.set(JAVA_OPTIONS, f"-Dlog4j2.configurationFile={logging_config} {own}".strip())
    with (folder / LOG).open("ab") as log:
        SparkContext._gateway = launch_gateway(conf, {"stdout": log, "stderr": log})
        SparkContext._jvm = SparkContext._gateway.jvm


@contextmanager
def errors_of_spark() -> Iterator[None]:
    """Spark's message without the stack that led there."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise DbtDatabaseError(str(error).partition("\n\tat ")[0].strip()) from error


class OwnCursor(Cursor):  # type: ignore[misc]  # dbt is not typed
    """dbt-spark's cursor asks for a new session, with Hive, before each statement."""

    def execute(self, sql: str, *parameters: Any) -> None:
        self._rows = None
        with speaking_to_dbt(), errors_of_spark():
            self._df = session().sql(sql % parameters if parameters else sql)

    def fetchall(self) -> Any:
        with errors_of_spark():
            return super().fetchall()


class OwnConnection(Connection):  # type: ignore[misc]
    def cursor(self) -> OwnCursor:
        return OwnCursor()


def connect() -> SessionConnectionWrapper:
    """A connection on the session; the session starts with the first statement."""
    return SessionConnectionWrapper(OwnConnection())
