"""One dbt invocation as the adapters of both engines see it.

Belongs here: what it was asked for, the result of a model and errors in dbt's words. Not here: what an adapter calls
(plugin.py, dbt_spark/adapter.py), starting dbt (run.py).
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import duckdb
from dbt.adapters.contracts.connection import AdapterResponse
from dbt_common.exceptions import DbtDatabaseError, DbtRuntimeError
from deltalake.exceptions import DeltaError

from ad_lakehouse.dbt_delta.model import Request
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.project import REBUILD_DAYS
from ad_lakehouse.dbt_delta.store import Outcome
from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import PREFIX, load_settings

DEV_USER = f"{PREFIX}DEV_USER"
TARGETS = ("dev", "prod")


@dataclass(frozen=True)
class Invocation:
    """Every table as it was when dbt began, and what was asked for beyond what changed."""

    pins: Pins
    request: Request

    @classmethod
    def begin(cls, target: str) -> "Invocation":
        """Pins the tables of the lake that the environment names; `target` is dev or prod."""
        settings = load_settings()
        pins = Pins(Lake(settings.lake, settings.storage_options), dev_user() if target == "dev" else None)
        pins.pin_all()
        days = days_asked(os.environ.get(REBUILD_DAYS, ""))
        return cls(pins, Request(days=days, contracts=settings.contracts))


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


@contextmanager
def speaking_to_dbt() -> Iterator[None]:
    """Errors as dbt's, so that dbt prints them as a message and not as a traceback."""
    try:
        yield
    except duckdb.Error as error:
        raise DbtDatabaseError(str(error)) from error
    except (LakehouseError, DeltaError) as error:
        raise DbtRuntimeError(str(error)) from error
