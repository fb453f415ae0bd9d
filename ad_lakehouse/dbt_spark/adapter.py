"""The dbt adapter `lakespark`: dbt-spark, with the materialisation `delta` on pinned Delta tables.

Belongs here: what dbt calls, and what dbt's macros ask for. Not here: how a table is built (dbt_delta/store.py),
its rows on Spark (staging.py), the session (session.py).

The profile sets `lake_target: dev|prod`, like the plugin of DuckDB.
"""

import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

from dbt.adapters.base import AdapterPlugin, available
from dbt.adapters.contracts.connection import Connection, ConnectionState
from dbt.adapters.spark.connections import SparkConnectionManager, SparkConnectionMethod, SparkCredentials
from dbt.adapters.spark.impl import SparkAdapter
from dbt.flags import get_flags
from dbt_common.invocation import get_invocation_id

from ad_lakehouse.dbt_delta.inputs import SPARK, input_name, parse_input_name
from ad_lakehouse.dbt_delta.invocation import TARGETS, Invocation, response, speaking_to_dbt
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.pins import MissingInput, Pins
from ad_lakehouse.dbt_delta.project import CODES
from ad_lakehouse.dbt_delta.store import Build
from ad_lakehouse.dbt_spark.agreement import AGREEMENT
from ad_lakehouse.dbt_spark.artefacts import require_pyspark
from ad_lakehouse.dbt_spark.audit import Result
from ad_lakehouse.dbt_spark.staging import SparkStaging, all_rows, pinned_rows, ticked
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake.tables import LAYERS
from ad_lakehouse.lake.views import Snapshot
from ad_lakehouse.settings import load_settings

ADAPTER = "lakespark"  # dbt makes it of the class name, too
READING = {"test", "show", "build", "generate", "retry"}  # dbt commands that read tables by their names


@dataclass
class LakeSparkCredentials(SparkCredentials):  # type: ignore[misc]  # dbt is not typed
    """Those of dbt-spark; with method `session` (the default) the settings of the lake say all."""

    lake_target: str = ""
    method: Any = None
    server_side_parameters: dict[str, str] = field(default_factory=dict)
    host: str | None = "localhost"
    schema: str | None = "silver"

    def __post_init__(self) -> None:
        if self.lake_target not in TARGETS:
            raise ConfigurationError(
                f"profiles.yml: lake_target is {self.lake_target!r}.", remedy=f"Set one of {', '.join(TARGETS)}."
            )
        self.method = self.method or SparkConnectionMethod.SESSION
        if self.method != SparkConnectionMethod.SESSION:  # dbt-spark wants PySpark even to compile
            super().__post_init__()
        self.database = None
        self.server_side_parameters = {**self.server_side_parameters, **AGREEMENT}

    @property
    def type(self) -> str:
        return ADAPTER


def local_connection() -> Any:
    """Raises `SparkUnavailable`. PySpark is imported here: to compile the project it need not be installed."""
    require_pyspark()
    from ad_lakehouse.dbt_spark.session import connect

    return connect()


class LakeSparkConnectionManager(SparkConnectionManager):  # type: ignore[misc]
    TYPE = ADAPTER

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        if connection.state != ConnectionState.OPEN and connection.credentials.method == SparkConnectionMethod.SESSION:
            with speaking_to_dbt():
                connection.handle = local_connection()
            connection.state = ConnectionState.OPEN
            return connection
        connection = super().open(connection)
        for name, value in AGREEMENT.items():  # a Thrift server takes what comes with the connection for Hive's
            cursor = connection.handle.cursor()
            cursor.execute(f"set `{name}`=`{value}`")
        return connection


class LakeSparkAdapter(SparkAdapter):  # type: ignore[misc]
    """See the module. dbt makes one for each invocation."""

    ConnectionManager = LakeSparkConnectionManager

    def __init__(self, config: Any, mp_context: Any) -> None:
        super().__init__(config, mp_context)
        self._lock = RLock()
        self._invocation: tuple[str, Invocation] | None = None  # with dbt's id of it

    @property
    def begun(self) -> Invocation:
        """The tables as they were when this invocation first looked."""
        with self._lock:
            now = get_invocation_id()
            if self._invocation is None or self._invocation[0] != now:
                begun = Invocation.begin(self.config.credentials.lake_target)
                if get_flags().WHICH in READING:
                    self._define_views(begun.pins)
                self._invocation = now, begun
            return self._invocation[1]

    @cached_property
    def other_codes(self) -> dict[str, dict[str, str]]:
        """What `ad-lakehouse build` found of the same models compiled for DuckDB; nothing in a dbt run by hand."""
        return json.loads(os.environ.get(CODES, "{}"))  # type: ignore[no-any-return]

    @cached_property
    def local(self) -> bool:
        """Whether Spark runs in this process, and not on a cluster."""
        spark = load_settings().spark
        session = self.config.credentials.method == SparkConnectionMethod.SESSION
        return bool(session and spark.master.startswith("local") and not spark.remote)

    def execute(self, sql: str, *more: Any, **given: Any) -> Any:
        """dbt's own statements, which may name any table: tests and `dbt show` do."""
        if get_flags().WHICH in READING:
            with speaking_to_dbt():
                _ = self.begun
        return super().execute(sql, *more, **given)

    def execute_plain(self, sql: str) -> Result:
        """One statement, and all rows that it gives."""
        handle = self.connections.get_thread_connection().handle
        with self.connections.exception_handler(sql):
            cursor = handle.cursor()
            cursor.execute(sql)
            description = list(cursor.description or ())
            return Result(description, [tuple(row) for row in cursor.fetchall() or ()] if description else [])

    def _define_views(self, pins: Pins) -> None:
        for layer in LAYERS:
            if self.local:  # a session that outlives this run may have views of another lake
                self.execute_plain(f"drop database if exists {layer} cascade")
            self.execute_plain(f"create database if not exists {layer}")
        for snapshot in pins.pinned():
            self._define_view(pins, snapshot)

    def _define_view(self, pins: Pins, snapshot: Snapshot) -> None:
        name = f"{ticked(snapshot.name.layer)}.{ticked(snapshot.name.table)}"
        self.execute_plain(f"create or replace view {name} as {all_rows(pins, snapshot)}")

    @available  # type: ignore[untyped-decorator]
    def build_delta(self, relation: Any, build: dict[str, Any]) -> Any:
        """Called by the materialisation `delta`; returns dbt's response."""
        with speaking_to_dbt():
            begun = self.begun
            name = f"{relation.schema}.{relation.identifier}"
            model = Model.of(
                relation.schema,
                relation.identifier,
                build["sql"],
                build["config"],
                description=build["description"],
                columns=build["columns"],
                engine=SPARK,
                other_codes=self.other_codes.get(name, {}),
            )
            request = replace(begun.request, full_refresh=build["full_refresh"])
            staging = SparkStaging(model, begun.pins, self.execute_plain, local=self.local)
            outcome = Build(model, begun.pins, staging, request).run()
            if outcome.version is not None and get_flags().WHICH in READING:
                self._define_view(begun.pins, begun.pins.get(model.name))
            return response(outcome)

    @available  # type: ignore[untyped-decorator]
    def define_input(self, name: str, may_be_missing: bool) -> None:
        """For `dbt show` and tests; a model that is being built brings its own limited views."""
        dependency = parse_input_name(name)
        assert dependency is not None  # noqa: S101 the macros render only such names
        with speaking_to_dbt():
            pins = self.begun.pins
            try:
                rows = pinned_rows(pins, dependency, None)
            except MissingInput:
                if not may_be_missing:
                    raise
            else:
                self.execute_plain(f"create or replace temp view {ticked(input_name(dependency))} as {rows}")


Plugin = AdapterPlugin(  # dbt looks for this name
    adapter=LakeSparkAdapter,
    credentials=LakeSparkCredentials,
    include_path=str(Path(__file__).parent / "include"),
    dependencies=["spark"],
)
