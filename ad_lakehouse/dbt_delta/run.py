"""Running dbt in this process: build the tables, or tell what a build would do.

Belongs here: calling dbt, its results as values. Not here: what dbt calls (plugin.py), schedules (defs), output (cli).
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from ad_lakehouse.dbt_delta.inputs import DUCKDB, SPARK
from ad_lakehouse.dbt_delta.model import Model, plan_model
from ad_lakehouse.dbt_delta.pins import MissingInput, Pins
from ad_lakehouse.dbt_delta.plan import Changed, Plan
from ad_lakehouse.dbt_delta.project import CODES, REBUILD_DAYS, project_dir, target_folder
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import PREFIX, Settings

# What dbt would print is in its results; artifacts are for `dbt build` by hand.
QUIET = ("--log-level", "none", "--no-print", "--no-write-json", "--log-level-file", "none")

TARGET_OF = {DUCKDB: "prod", SPARK: "spark"}  # engine → target of the published tables
SPARK_TARGETS = ("spark", "spark_dev")


class BuildFailed(LakehouseError):
    """dbt could not run, or some models could not be built."""

    exit_code = 11


class Interrupted(LakehouseError):
    """Somebody ended the build by Ctrl-C."""

    exit_code = 130  # as shells say it: 128 and SIGINT's number


@dataclass(frozen=True)
class ModelResult:
    """What happened to one model or test; `status` is dbt's: success, error, skipped, pass, fail."""

    name: str
    status: str
    message: str
    seconds: float
    figures: Mapping[str, Any] = field(default_factory=dict)  # plugin.Response: days_rebuilt, rows, size, …

    @property
    def ok(self) -> bool:
        return self.status in {"success", "pass", "warn", "no-op"}


@dataclass(frozen=True)
class BuildReport:
    """One run of dbt."""

    results: tuple[ModelResult, ...]

    @property
    def failed(self) -> tuple[ModelResult, ...]:
        return tuple(each for each in self.results if not each.ok)

    def raise_if_failed(self) -> "BuildReport":
        """Raises `BuildFailed` with the reason of each model that failed; those skipped for it are counted."""
        broken = [each for each in self.failed if each.status != "skipped"]
        if self.failed:
            skipped = len(self.failed) - len(broken)
            reasons = "\n".join(f"{each.name}: {each.message}" for each in broken)
            raise BuildFailed(f"{len(broken)} not built, {skipped} skipped because of it.\n{reasons}")
        return self


@dataclass(frozen=True)
class TablePlan:
    """What a build would do to one table."""

    name: TableName
    plan: Plan

    @property
    def days(self) -> frozenset[date] | None:
        """None: all."""
        return self.plan.days

    @property
    def reason(self) -> str:
        return self.plan.reason


def build(
    settings: Settings,
    select: Sequence[str] | None = None,
    target: str | None = None,
    vars: Mapping[str, Any] | None = None,  # noqa: A002 dbt's word
    full_refresh: bool = False,
    *,
    days: tuple[date, date] | None = None,
    tests: bool = False,
    project: Path | None = None,
    progress: Callable[[ModelResult], None] | None = None,
) -> BuildReport:
    """Builds the models (with `tests` also dbt's tests, each model's before its children).

    `target`: of the profile; by default the published tables by the engine of the settings. `days`: the first and
    last output day to rebuild besides those that changed.

    A model that fails does not raise, see `BuildReport.raise_if_failed`; `BuildFailed` is raised when dbt itself
    cannot run. `progress` hears of each model as it ends.
    """
    target = target or TARGET_OF[settings.transform.engine]
    command = ["build", "--exclude-resource-type", "unit_test"] if tests else ["run"]
    command += ["--threads", str(settings.transform.threads)]
    command += [part for each in select or () for part in ("--select", each)]
    command += ["--full-refresh"] if full_refresh else []
    told = {REBUILD_DAYS: f"{days[0]}..{days[1]}"} if days else {}
    if target in SPARK_TARGETS:
        told[CODES] = json.dumps(duckdb_codes(settings, vars, project))
    with environment(told):
        outcome = invoke(settings, command, target=target, vars=vars, project=project, progress=progress)
    # The project's on-run-start gives fixtures of unit tests their types; that it ran well is no result of a build.
    ended = [each for each in outcome.results if each.node.resource_type != "operation" or each.status == "error"]
    return BuildReport(tuple(result_of(each) for each in ended))


def duckdb_codes(
    settings: Settings,
    vars: Mapping[str, Any] | None,  # noqa: A002 dbt's word
    project: Path | None,
) -> dict[str, dict[str, str]]:
    """The code of each table as compiled for DuckDB, so that Spark goes on with tables that DuckDB has built."""
    return {name: model.codes for name, model in compiled_models(settings, vars, project).items()}


def compiled_models(
    settings: Settings,
    vars: Mapping[str, Any] | None,  # noqa: A002 dbt's word
    project: Path | None,
    target: str = "prod",
) -> dict[str, Model]:
    """Every table of the project by its name, as compiled for a target. Raises `BuildFailed`."""
    outcome = invoke(settings, ["compile", "--no-populate-cache"], target=target, vars=vars, project=project)
    broken = [each for each in outcome.results if each.status == "error"]
    if broken:
        raise BuildFailed("\n".join(f"{each.node.name}: {each.message}" for each in broken))
    nodes = [each.node for each in outcome.results if each.node.resource_type == "model"]
    engine = SPARK if target in SPARK_TARGETS else DUCKDB
    return {
        f"{each.schema}.{each.alias}": model_of(each, engine) for each in nodes if each.config.materialized == "delta"
    }


def plan(
    settings: Settings,
    vars: Mapping[str, Any] | None = None,  # noqa: A002 dbt's word
    *,
    project: Path | None = None,
) -> list[TablePlan]:
    """What a build of the published tables would do, inputs before what reads them. Builds nothing.

    A table that will be rebuilt makes days of those below it stale: these are counted in, as if all its rebuilt
    days came out different.
    """
    models = compiled_models(settings, vars, project)
    if settings.transform.engine == SPARK:
        on_spark = compiled_models(settings, vars, project, TARGET_OF[SPARK])
        models = {name: replace(each, other_codes=models[name].codes) for name, each in on_spark.items()}
    pins = Pins(Lake(settings.lake, settings.storage_options))
    pins.pin_all()
    pending: dict[str, Changed] = {}
    plans = []
    for name in TopologicalSorter({name: model.inputs for name, model in models.items()}).static_order():
        if name in models:
            found = foreseen(models[name], pins, pending)
            plans.append(TablePlan(models[name].name, found))
            if not found.nothing:
                pending[name] = Changed(found.days, "" if found.days else "will be rebuilt")
    return plans


def model_of(node: Any, engine: str = DUCKDB) -> Model:
    """A compiled dbt node as the materialisation hands it to the plugin."""
    columns = {each.name: each.data_type for each in node.columns.values()} if node.config.contract.enforced else {}
    return Model.of(node.schema, node.alias, node.compiled_code, node.config.to_dict(), columns=columns, engine=engine)


def foreseen(model: Model, pins: Pins, pending: Mapping[str, Changed]) -> Plan:
    """The plan of one model once `pending` is done."""
    output = pins.lake.open_if_exists(model.name)
    try:
        return plan_model(model, pins, output, pending=pending)
    except MissingInput as error:
        missing = [name for name in model.inputs if name not in pins]
        if all(name in pending for name in missing):
            return Plan(None, f"{', '.join(missing)} will be built")
        return Plan(frozenset(), f"cannot be built: {error.message}", advanced=False)


def invoke(
    settings: Settings,
    command: Sequence[str],
    *,
    target: str = "prod",
    vars: Mapping[str, Any] | None = None,  # noqa: A002 dbt's word
    project: Path | None = None,
    progress: Callable[[ModelResult], None] | None = None,
) -> Any:
    """Runs one dbt command and returns dbt's own result. Raises `BuildFailed` when dbt cannot run."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    folder = project or project_dir()
    where = ["--project-dir", str(folder), "--target", target]
    where += ["--profiles-dir", os.environ.get("DBT_PROFILES_DIR") or str(folder)]
    where += ["--target-path", str(target_folder(folder) / target)]
    given = ["--vars", json.dumps(dict(vars))] if vars else []

    def on_event(event: Any) -> None:
        if progress and event.info.name in {"LogModelResult", "LogTestResult"}:
            node = event.data.node_info
            progress(ModelResult(node.node_name, node.node_status, event.data.status, event.data.execution_time))

    with environment(settings_as_environment(settings)):
        DuckDBConnectionManager.close_all_connections()  # a warm process keeps the last run's tables in memory
        try:
            outcome = dbtRunner(callbacks=[on_event]).invoke([*QUIET, *command, *where, *given])
        finally:
            DuckDBConnectionManager.close_all_connections()
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise Interrupted("Interrupted. What was committed stays.", remedy="Build again: it goes on from there.")
    if outcome.exception is not None or not hasattr(outcome.result, "results"):
        raise BuildFailed(f"dbt {command[0]} could not run: {outcome.exception or 'no result'}")
    return outcome.result


def result_of(result: Any) -> ModelResult:
    """dbt's result of one node as ours."""
    node = result.node
    name = f"{node.schema}.{node.alias}" if node.resource_type == "model" else node.name
    figures = dict(result.adapter_response)
    if "days_replaced" in figures:  # dbt leaves out what is None
        figures = {"days_rebuilt": None, "version": None, **figures, "rows": figures.pop("rows_affected", 0)}
    return ModelResult(name, str(result.status), str(result.message or ""), result.execution_time, figures)


def settings_as_environment(settings: Settings) -> dict[str, str]:
    """The variables from which the plugin, which dbt creates, reads these settings."""
    transform = settings.transform.model_dump(mode="json", exclude_none=True)
    spark = settings.spark.model_dump(mode="json", exclude={"conf"})
    contracts = {f"{PREFIX}CONTRACTS": str(settings.contracts)} if settings.contracts else {}
    return {
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        f"{PREFIX}LAKE": settings.lake,
        f"{PREFIX}STORAGE_OPTIONS": json.dumps(settings.storage_options),
        **{f"{PREFIX}TRANSFORM__{name.upper()}": str(value) for name, value in transform.items()},
        **{f"{PREFIX}SPARK__{name.upper()}": value for name, value in spark.items()},
        f"{PREFIX}SPARK__CONF": json.dumps(settings.spark.conf),
        **contracts,
    }


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Sets variables for a while."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
