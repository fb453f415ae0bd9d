"""The bronze tables as assets: materialising one lands what is new on its topic and in the drop folder.

Belongs here: one asset a landed table. Not here: landing (landing.py of the package, kafka_sinks, files), when to
land (triggers.py).

A topic and the files of a source fill one table, so they are one asset. Sources that share files (clicks and
conversions come in one mixed CSV) land together, in one step.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import dagster as dg

from ad_lakehouse.defs.figures import landed_between, table_figures
from ad_lakehouse.defs.freshness import pipeline_policy
from ad_lakehouse.defs.instance_facts import shown_version
from ad_lakehouse.defs.keys import asset_key, kinds, owners
from ad_lakehouse.defs.metadata import Metadata, lag_metadata, landing_metadata, table_metadata
from ad_lakehouse.defs.resources import DropOfRun, lake_of
from ad_lakehouse.files.drop import DropFolder
from ad_lakehouse.lake import TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source, bronze_schema

TIMEOUT = timedelta(seconds=10)


def sharing_files(sources: Mapping[str, Source]) -> list[tuple[Source, ...]]:
    """Sources in groups: two that take files of one pattern are in the same group."""
    groups: list[list[Source]] = []
    for source in sources.values():
        mine = [group for group in groups if any(set(source.files) & set(each.files) for each in group)]
        groups = [group for group in groups if group not in mine]
        groups.append([*(each for group in mine for each in group), source])
    return [tuple(group) for group in sorted(groups, key=lambda group: group[0].name)]


def landing_asset(
    group: Sequence[Source], windows: Path | None, before: Sequence[dg.AssetKey] = ()
) -> dg.AssetsDefinition:
    """The step that lands one group. `before`: what brings records to the topics, for the lineage."""

    @dg.multi_asset(
        name="land_" + "_and_".join(each.name for each in group),
        specs=[bronze_spec(each, windows, before if each.topic else ()) for each in group],
    )
    def land(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        drop: dg.ResourceParam[DropOfRun],
    ) -> Iterator[dg.MaterializeResult[None]]:
        lake = lake_of(settings)
        begun = time.monotonic()
        told = land_group(context, settings, drop.folder, group)
        for source in group:
            table = table_figures(lake, TableName("bronze", source.name))
            landed = landed_between(lake, table.snapshot, shown_version(context.instance, table.snapshot))
            yield dg.MaterializeResult(
                asset_key=asset_key(table.snapshot.name),
                data_version=table.data_version,
                metadata={
                    **table_metadata(table, {field.name: field.doc for field in source.fields}),
                    **landing_metadata(table, landed, source.name, time.monotonic() - begun),
                    **told.get(source.name, {}),
                },
            )

    return land


def land_group(
    context: dg.AssetExecutionContext, settings: Settings, drop: DropFolder | None, group: Sequence[Source]
) -> dict[str, Metadata]:
    """Lands files, then topics unless the service does; returns what each source's topic has to tell."""
    from ad_lakehouse.landing import create_tables, land_all
    from kafka_sinks.cluster import TopicMissing
    from kafka_sinks.lag import topic_lag
    from kafka_sinks.sink import land_topic

    lake, names = lake_of(settings), [each.name for each in group]
    create_tables(lake, {each.name: each for each in group})
    if drop is not None:
        for file in land_all(lake, settings, folder=drop, topics=False, only=names).files:
            if file.error and file.outcome != "no source":
                context.log.warning(f"{file.path}: {file.outcome}: {file.error}")
    told: dict[str, Metadata] = {}
    for source in group:
        if source.topic is not None and settings.kafka.bootstrap_servers:
            try:
                if settings.landing.topics == "runs":
                    lag = land_topic(lake, source, settings, timeout=TIMEOUT.total_seconds()).lag
                else:
                    lags = topic_lag(lake, source, settings.kafka, times=False)
                    lag = {each.partition: each.end - each.landed for each in lags}
                told[source.name] = lag_metadata(source.topic, lag)
            except TopicMissing as error:
                context.log.info(str(error))
                told[source.name] = {"topic": f"{source.topic} (not there yet)"}
    return told


def bronze_spec(source: Source, windows: Path | None, before: Sequence[dg.AssetKey]) -> dg.AssetSpec:
    """The asset of one landed table. `windows`: the user's own file of freshness windows."""
    name = TableName("bronze", source.name)
    columns = {each.name: str(each.type) for each in bronze_schema(source)}
    comes = [f"topic `{source.topic}`"] if source.topic else []
    comes += [f"files `{pattern}`" for pattern in source.files]
    return dg.AssetSpec(
        asset_key(name),
        deps=before,
        description=f"{source.schema.get('doc', '')}\n\nLanded exactly once from {', '.join(comes)}.".strip(),
        group_name="bronze",
        owners=owners(name),
        kinds=kinds(*(["kafka"] if source.topic else []), *(["file"] if source.files else [])),
        tags={"wire": source.wire, "dimension": str(source.dimension).lower()},
        metadata={"columns": len(columns), "wire": source.wire},
        freshness_policy=pipeline_policy(source.name, windows),
    )
