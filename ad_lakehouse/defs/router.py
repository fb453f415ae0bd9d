"""The file router as an asset; there only where Dagster's runs route (`AD_LAKEHOUSE_ROUTER__BY`).

Belongs here: the asset, its check, its job, when it runs. Not here: what is sent and how (files/router).
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ad_lakehouse.defs.instance_facts import now
from ad_lakehouse.defs.keys import OWNERS
from ad_lakehouse.defs.metadata import markdown_table
from ad_lakehouse.defs.triggers import JOB_TAG, request
from ad_lakehouse.files.drop import drop_folder
from ad_lakehouse.settings import Settings

if TYPE_CHECKING:
    from ad_lakehouse.files.router.reports import RouteReport
    from ad_lakehouse.files.router.routing import Router

ROUTE = "route"
KEY = dg.AssetKey(["router", "files"])
CHECK = dg.AssetCheckKey(KEY, "all_rows_sent")
SHOWN = 100  # files of one run


def router_asset() -> dg.AssetsDefinition:
    """`router/files`: what the routed folder holds, on the topics."""

    @dg.asset(
        key=KEY,
        check_specs=[
            dg.AssetCheckSpec(
                CHECK.name, asset=KEY, description="no file is broken, waits, or has rows that none takes"
            )
        ],
        description="The rows of dropped files on the topics of their sources, each once.",
        group_name=KEY.path[0],
        owners=[OWNERS["bronze"]],
        kinds={"kafka", "file"},
    )
    def routed(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult[None]]:
        from ad_lakehouse.files.router.routing import Router, refuse_landed
        from kafka_sinks.sources import load_sources

        folder = folder_of(settings)
        refuse_landed(folder, settings)
        with Router(load_sources(settings.landing.sources), folder, settings) as router:
            reports = router.route(settings.landing.settle_seconds)
            wrong = [f"{name}: {why}" for name, why in not_sent(router, reports)]
        for line in wrong:
            context.log.warning(line)
        new = [each for each in reports if each.outcome not in ("already routed", "still being written")]
        told = [(each.path, each.outcome, " + ".join(each.topics), each.rows, each.sha256[:12]) for each in new[:SHOWN]]
        yield dg.MaterializeResult(
            metadata={
                "folder": folder,
                "files": len(reports),
                "rows": sum(each.rows for each in reports),
                "new": dg.MetadataValue.md(markdown_table(("file", "became", "topic", "rows", "sha256"), told)),
            },
            check_results=[
                dg.AssetCheckResult(
                    asset_key=KEY,
                    check_name=CHECK.name,
                    passed=not wrong,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description="\n".join(wrong) or "all rows of all files are sent",
                )
            ],
        )

    return routed


def not_sent(router: "Router", reports: "Iterable[RouteReport]") -> Iterator[tuple[str, str]]:
    """Files whose rows are not all on their topics, with the reason; those of an earlier run, too."""
    for each in reports:
        state = router.progress.files.get(each.path)
        if each.failed and each.error:
            yield each.path, f"{each.outcome}: {each.error}"
        elif state is not None and state.state == "incomplete":
            yield each.path, f"{state.unsent:,} rows are not sent: {state.reason}"


def folder_of(settings: Settings) -> str:
    return settings.router.folder or ""  # there is no asset without one (location.py)


def route_job() -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        ROUTE, dg.AssetSelection.assets(KEY), tags={JOB_TAG: ROUTE},
        description="Sends the rows of new files to the topics of their sources.",
    )  # fmt: skip


def route_sensor() -> dg.SensorDefinition:
    """Starts `route` when a file came or was replaced."""

    @dg.sensor(
        name="route_what_was_dropped", job_name=ROUTE, minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every half minute: a new file in the routed folder?",
    )  # fmt: skip
    def route_what_was_dropped(
        context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        # One that has not settled yet has not arrived: the router would leave it, and nothing would change afterwards
        settled = now() - timedelta(seconds=settings.landing.settle_seconds)
        files = drop_folder(folder_of(settings), settings.drop_options).files()
        lines = [f"{each.name} {each.identity}" for each in files if each.modified <= settled]
        if not lines:
            return dg.SkipReason("no files yet")
        seen = {"files": sha256("\n".join(lines).encode()).hexdigest()}
        return request(context, ROUTE, seen, lambda _: dg.RunRequest(), f"all {len(lines)} files were seen")

    return route_what_was_dropped
