"""The code location, put together.

Belongs here: which assets, checks, jobs and sensors there are. Not here: any of them.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.defs.alerts import Watched, alerts_sensor
from ad_lakehouse.defs.checks import landing_checks
from ad_lakehouse.defs.graph import GraphNotPrepared, ModelGraph, read_graph
from ad_lakehouse.defs.keys import LEDGER, asset_key
from ad_lakehouse.defs.landing import landing_asset, sharing_files
from ad_lakehouse.defs.ledger import CHECK, ledger_asset
from ad_lakehouse.defs.maintenance import care_by_the_clock
from ad_lakehouse.defs.models import model_assets
from ad_lakehouse.defs.resources import drop_of_run
from ad_lakehouse.defs.router import route_job, route_sensor, router_asset
from ad_lakehouse.defs.stream import stream_checks
from ad_lakehouse.defs.triggers import build_sensor, jobs, landing_sensor
from ad_lakehouse.defs.warehouse import register_job, register_sensor, warehouse_asset
from ad_lakehouse.lake import TableName
from ad_lakehouse.quality.contracts import contract_paths
from ad_lakehouse.settings import Settings, load_settings
from kafka_sinks.sources import load_sources

LOGGER = logging.getLogger("dagster.ad_lakehouse")
IN_DEVELOPMENT = "DAGSTER_IS_DEV_CLI"  # set by `dagster dev`


def code_location(settings: Settings | None = None, project: Path | None = None) -> dg.Definitions:
    """Everything Dagster shows. Reads our own files only. Raises `GraphNotPrepared`, `ConfigurationError`."""
    settings = settings or load_settings()
    folder = (project or project_dir()).resolve()
    graph = prepared_graph(folder)
    sources = load_sources(settings.landing.sources)
    landed = [TableName("bronze", name) for name in sources]
    contracts = contract_paths(settings.contracts)
    contract_steps = landing_checks(contracts, set(landed))
    stream = stream_checks(sources.values())
    groups = sharing_files(sources)
    ledger = ledger_asset(landed)
    routing = [router_asset()] if settings.router.folder and settings.router.by == "runs" else []
    before = [spec.key for each in routing for spec in each.specs]
    first = [*(landing_asset(group, settings.freshness, before) for group in groups), ledger]
    gates = [spec.key for step in [*contract_steps, ledger] for spec in step.check_specs if spec.blocking]
    models = model_assets(graph, contracts, gates, folder, settings.transform.engine)
    specs = [spec for each in [*first, models] for spec in each.specs]
    warehouse = [warehouse_asset([spec.key for spec in specs])] if settings.trino.host else []
    specs += [spec for each in [*warehouse, *routing] for spec in each.specs]
    checks = [spec.key for each in [*contract_steps, ledger, models, *routing] for spec in each.check_specs]
    care_jobs, care_schedules = care_by_the_clock()
    bronze = [asset_key(name) for name in landed]
    all_jobs: list[UnresolvedAssetJobDefinition | dg.JobDefinition] = [
        *jobs(dg.AssetSelection.assets(*bronze, asset_key(LEDGER)), dg.AssetSelection.assets(models)),
        *care_jobs,
        *([register_job()] if warehouse else []),
        *([route_job()] if routing else []),
    ]
    return dg.Definitions(
        assets=[*routing, *first, models, *warehouse],
        asset_checks=[*contract_steps, stream],
        jobs=all_jobs,
        schedules=care_schedules,
        sensors=[
            landing_sensor(groups, [*gates, *stream.check_keys]),
            build_sensor(bronze, gates, graph, with_every_build(graph, models.check_specs)),
            alerts_sensor(Watched(specs, checks, sources, [each.name for each in all_jobs])),
            *([register_sensor()] if warehouse else []),
            *([route_sensor()] if routing else []),
        ],
        resources={"settings": settings, "drop": drop_of_run},
        executor=dg.in_process_executor,  # a step is short; a process for each would cost seconds
    )


def with_every_build(graph: ModelGraph, specs: Iterable[dg.AssetCheckSpec]) -> list[dg.AssetCheckKey]:
    """dbt's tests, which dbt runs anyway, and the ledger; blocking contract checks looked at the rows before."""
    tests = {test.name for each in graph.models for test in each.tests}
    return [spec.key for spec in specs if spec.name == CHECK or spec.name in tests]


def prepared_graph(project: Path) -> ModelGraph:
    """The graph of the dbt project; under `dagster dev` it is made anew when the project has changed."""
    try:
        return read_graph(project)
    except GraphNotPrepared as error:
        if not os.environ.get(IN_DEVELOPMENT):
            raise
        from ad_lakehouse.defs.prepare import prepare_in_own_process

        LOGGER.info("%s Preparing it, about ten seconds …", error.message)
        prepare_in_own_process(project)
        return read_graph(project)
