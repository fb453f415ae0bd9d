"""The lake's tables in the catalog of a Trino, as an asset; there only where a Trino is set.

Belongs here: the asset, its job, when it runs. Not here: what is registered and how (warehouse/).
"""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ad_lakehouse.defs.freshness import pipeline_policy
from ad_lakehouse.defs.keys import OWNERS
from ad_lakehouse.defs.metadata import markdown_table
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.defs.triggers import JOB_TAG, request
from ad_lakehouse.settings import Settings

REGISTER = "register"
KEY = dg.AssetKey(["warehouse", "tables"])


def warehouse_asset(tables: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    """`warehouse/tables`, which knows of all `tables` of the lake."""

    @dg.asset(
        key=KEY,
        deps=tables,
        description="Each table of the lake in Trino's catalog and its metastore, where it is; asked by name there.",
        group_name=KEY.path[0],
        owners=[OWNERS["marts"]],
        kinds={"trino", "hive"},
        freshness_policy=pipeline_policy(),
    )
    def registered(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult[None]:
        """Raises `Failure` when Trino refused a table; the others are done."""
        from ad_lakehouse.warehouse.register import Step, register

        done = register(lake_of(settings), settings.trino, progress=context.log.info)
        if failed := [f"{each.name}: {each.error}" for each in done if each.error]:
            raise dg.Failure("; ".join(failed))
        told = [
            (each.name, each.step, each.location or "", each.before or "")
            for each in done
            if each.step is not Step.UNCHANGED
        ]
        return dg.MaterializeResult(
            metadata={
                "tables": len(done),
                "changed": len(told),
                "changes": dg.MetadataValue.md(markdown_table(("table", "became", "where", "before"), told)),
            }
        )

    return registered


def register_job() -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        REGISTER, dg.AssetSelection.assets(KEY), tags={JOB_TAG: REGISTER},
        description="Makes Trino's catalog know each table of the lake. No data change.",
    )  # fmt: skip


def register_sensor() -> dg.SensorDefinition:
    """Starts `register` when a table came or went; new rows need none, as Trino reads the log with each query."""

    @dg.sensor(
        name="register_what_came_or_went", job_name=REGISTER, minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every minute: a table that came, or went?",
    )  # fmt: skip
    def register_what_came_or_went(
        context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        names = sorted(map(str, lake_of(settings).tables()))
        if not names:
            return dg.SkipReason("no tables yet")
        seen = {"tables": ", ".join(names)}
        return request(context, REGISTER, seen, lambda _: dg.RunRequest(), f"all {len(names)} tables are known")

    return register_what_came_or_went
