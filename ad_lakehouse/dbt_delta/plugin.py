"""The dbt-duckdb plugin of the `lake` profile: pinned Delta tables as views, models written to Delta.

Belongs here: what dbt-duckdb calls, and what dbt's macros ask for. Not here: how a table is built (store.py).

The profile sets `config: {target: dev|prod}`. Target prod writes the published tables, dev writes those of the
developer (`AD_LAKEHOUSE_DEV_USER`, else the login name) and reads published ones where there are no own.
"""

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtDatabaseError, DbtRuntimeError
from dbt_common.invocation import get_invocation_id
from deltalake.exceptions import DeltaError

from ad_lakehouse.dbt_delta.inputs import parse_input_name
from ad_lakehouse.dbt_delta.model import Model, Request
from ad_lakehouse.dbt_delta.pins import MissingInput, Pins
from ad_lakehouse.dbt_delta.project import REBUILD_DAYS
from ad_lakehouse.dbt_delta.store import Build, Outcome
from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.lake.views import prepare
from ad_lakehouse.settings import PREFIX, load_settings

DEV_USER = f"{PREFIX}DEV_USER"
TARGETS = ("dev", "prod")


@dataclass
class Response(AdapterResponse):  # type: ignore[misc]  # dbt is not typed
    """dbt's result of one model, with what Dagster and people want to know of the build."""

    reason: str = ""
    days_rebuilt: int | None = None
    days_replaced: int = 0
    size: int = 0
    seconds: float = 0.0
    version: int | None = None


def response(outcome: Outcome) -> Response:
    figures = asdict(outcome)
    rows = figures.pop("rows")
    return Response(_message=message(outcome), rows_affected=rows, **figures)


def message(outcome: Outcome) -> str:
    """One line of dbt's output."""
    if outcome.days_rebuilt == 0:
        return f"nothing to do: {outcome.reason}"
    rebuilt = "all" if outcome.days_rebuilt is None else days(outcome.days_rebuilt)
    return f"{rebuilt} rebuilt, {days(outcome.days_replaced)} replaced, {outcome.rows:,} rows: {outcome.reason}"


def days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"


def days_asked(text: str) -> frozenset[date]:
    """The days of `first..last`. Raises `ConfigurationError`."""
    if not text:
        return frozenset()
    try:
        first, last = map(date.fromisoformat, text.split(".."))
    except ValueError:
        raise ConfigurationError(
            f"Setting {REBUILD_DAYS}: {text!r} is no span of days.", remedy="Write 2026-07-01..2026-07-03."
        ) from None
    return frozenset(first + timedelta(n) for n in range((last - first).days + 1))


def dev_user() -> str:
    return os.environ.get(DEV_USER) or getpass.getuser()


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
        settings = load_settings()
        lake = Lake(settings.lake, settings.storage_options)
        self.pins = Pins(lake, dev_user() if self.target == "dev" else None)
        self.pins.pin_all()
        self.request = Request(days=days_asked(os.environ.get(REBUILD_DAYS, "")), contracts=settings.contracts)
        with self.cursor() as cursor:
            self.pins.define_views(cursor)

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
                outcome = Build(model, self.pins, cursor, request).run()
            config["response"] = response(outcome)

    def _define_input(self, config: dict[str, Any]) -> None:
        """For `dbt show` and tests; a model that is being built brings its own limited views."""
        dependency = parse_input_name(config["name"])
        assert dependency is not None  # noqa: S101 the macros render only such names
        try:
            with self.cursor() as cursor:
                self.pins.define_input(cursor, dependency)
        except MissingInput:
            if not config["may_be_missing"]:
                raise


@contextmanager
def speaking_to_dbt() -> Iterator[None]:
    """Errors as dbt's, so that dbt prints them as a message and not as a traceback."""
    try:
        yield
    except duckdb.Error as error:
        raise DbtDatabaseError(str(error)) from error
    except (LakehouseError, DeltaError) as error:
        raise DbtRuntimeError(str(error)) from error
