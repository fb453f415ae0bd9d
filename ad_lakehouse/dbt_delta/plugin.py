"""The dbt-duckdb plugin of the `lake` profile: pinned Delta tables as views, models written to Delta.

Belongs here: what dbt-duckdb calls, and what dbt's macros ask for. Not here: how a table is built (store.py).

The profile sets `config: {target: dev|prod}`. Target prod writes the published tables, dev writes those of the
developer (`AD_LAKEHOUSE_DEV_USER`, else the login name) and reads published ones where there are no own.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.invocation import get_invocation_id

from ad_lakehouse.dbt_delta.duckdb_views import define_input, define_views
from ad_lakehouse.dbt_delta.inputs import parse_input_name
from ad_lakehouse.dbt_delta.invocation import TARGETS, Invocation, response, speaking_to_dbt
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.pins import MissingInput
from ad_lakehouse.dbt_delta.staging import DuckDBStaging
from ad_lakehouse.dbt_delta.store import Build
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake.views import prepare
from ad_lakehouse.settings import load_settings


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt is not typed
    """See the module. dbt-duckdb makes one for the life of a process; each dbt invocation pins anew."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self.target = plugin_config.get("target")
        if self.target not in TARGETS:
            raise ConfigurationError(
                f"profiles.yml: the lake plugin's target is {self.target!r}.",
                remedy=f"Set one of {', '.join(TARGETS)}.",
            )
        self._lock = RLock()
        self._invocation: str | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:  # noqa: ARG002 dbt-duckdb's signature
        with speaking_to_dbt():
            transform = load_settings().transform
        folder = transform.temp_folder or Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        config.setdefault("memory_limit", transform.memory_limit)
        # A folder a process: DuckDB names its spill files alike in every process.
        config.setdefault("temp_directory", str(folder / f"ad-lakehouse-{os.getpid()}"))

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        prepare(conn)
        self._connection = conn
        self._invocation = None

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:  # noqa: ARG002 dbt-duckdb's signature
        with self._lock, speaking_to_dbt():
            invocation = get_invocation_id()
            if invocation != self._invocation:  # a warm process keeps connection and plugin over invocations
                self._pin()
                self._invocation = invocation

    def _pin(self) -> None:
        begun = Invocation.begin(str(self.target))
        self.pins, self.request = begun.pins, begun.request
        with self.cursor() as cursor:
            define_views(cursor, self.pins)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own: DuckDB refuses a busy one, and temporary views are seen on theirs alone."""
        assert self._connection is not None  # noqa: S101 dbt-duckdb connects before it asks for anything
        return self._connection.cursor()

    def store(self, target_config: Any) -> None:
        """Called by the materialisation `delta` and by the macros that name inputs."""
        config = target_config.config
        with speaking_to_dbt():
            if target_config.location.format == "input":
                self._define_input(config)
                return
            relation = target_config.relation
            model = Model.of(
                relation.schema,
                relation.identifier,
                config["sql"],
                config["config"],
                description=config["description"],
                columns=config["columns"],
            )
            with self.cursor() as cursor:
                request = replace(self.request, full_refresh=config["full_refresh"])
                outcome = Build(model, self.pins, DuckDBStaging(model, cursor), request).run()
            config["response"] = response(outcome)

    def _define_input(self, config: dict[str, Any]) -> None:
        """For `dbt show` and tests; a model that is being built brings its own limited views."""
        dependency = parse_input_name(config["name"])
        assert dependency is not None  # noqa: S101 the macros render only such names
        try:
            with self.cursor() as cursor:
                define_input(cursor, self.pins, dependency)
        except MissingInput:
            if not config["may_be_missing"]:
                raise
