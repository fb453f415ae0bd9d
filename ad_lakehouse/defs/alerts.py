"""Alerts: all that is wrong now, gathered each tick and handed to the evaluation.

Belongs here: gathering, and the sensor. Not here: what becomes of it (alerts/), asking Dagster (instance_facts.py).

One sensor for everything, since an evaluation needs all conditions of a kind at once: one that is missing is over.
A kind that could not be looked at (the broker is away) is left out, so that its alerts stay as they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from ad_lakehouse.alerts import Condition, EvaluationReport, evaluate
from ad_lakehouse.alerts.causes import fold_below
from ad_lakehouse.alerts.conditions import (
    PartitionLag,
    from_asset_freshness,
    from_checks,
    from_freshness,
    from_lag,
    from_runs,
)
from ad_lakehouse.alerts.stream import from_silent_monitor
from ad_lakehouse.defs.arrivals import broken_files, dropped, files_of_no_source
from ad_lakehouse.defs.connectors import connect_conditions
from ad_lakehouse.defs.freshness import pipeline_facts, remembered
from ad_lakehouse.defs.instance_facts import failed_checks, failed_runs, now, pipeline_states
from ad_lakehouse.defs.keys import OWNERS, table_name
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.defs.triggers import BUILD, LAND
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files.drop import Dropped
from ad_lakehouse.quality.freshness import freshness, load_windows, newest_events
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source

LAG_WARN, LAG_LATE = timedelta(minutes=10), timedelta(hours=1)
UNREACHABLE = "kafka/unreachable"


@dataclass(frozen=True)
class Watched:
    """What the alerts are about: taken from the code location once, when it is loaded."""

    assets: Sequence[dg.AssetSpec]
    checks: Sequence[dg.AssetCheckKey]
    sources: Mapping[str, Source]
    jobs: Sequence[str] = ()

    @property
    def owners(self) -> dict[str, str]:
        return {str(table_name(spec.key)): next(iter(spec.owners), "") for spec in self.assets}

    @property
    def upstream(self) -> dict[str, list[str]]:
        return {
            str(table_name(spec.key)): [str(table_name(dep.asset_key)) for dep in spec.deps] for spec in self.assets
        }

    @property
    def windows(self) -> dict[str, timedelta]:
        """The window after which each asset has failed, of those that have one."""
        return {
            str(table_name(spec.key)): spec.freshness_policy.fail_window.to_timedelta()
            for spec in self.assets
            if isinstance(spec.freshness_policy, TimeWindowFreshnessPolicy)
        }


@dataclass
class Seen:
    """What is wrong, and which kinds were looked at."""

    conditions: list[Condition] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def add(self, conditions: Sequence[Condition], *kinds: str) -> None:
        self.conditions += conditions
        self.kinds += kinds


def alerts_sensor(watched: Watched) -> dg.SensorDefinition:
    """The only place that evaluates alerts while Dagster runs."""

    @dg.sensor(
        name="alerts", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING,
        description="Late events, a late pipeline, Kafka lag, failed checks, runs and connectors: tells what changed.",
    )  # fmt: skip
    def alerts(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
        at = now()
        known = {asset: datetime.fromisoformat(at) for asset, at in json.loads(context.cursor or "{}").items()}
        known = remembered(known, watched.windows, at)
        report = tick(context.instance, settings, watched, known, at)
        context.update_cursor(json.dumps({asset: at.isoformat() for asset, at in known.items()}))
        for delivery in [*report.retried, *report.failed]:
            context.log.warning(f"{delivery.channel} did not take {delivery.notification.key}: {delivery.error}")
        return dg.SkipReason(report.summary)

    return alerts


def tick(
    instance: dg.DagsterInstance, settings: Settings, watched: Watched, known: Mapping[str, datetime], at: datetime
) -> EvaluationReport:
    """Gathers and evaluates once. `known`: since when each asset with a window is known."""
    seen = Seen()
    seen.add(late_events(settings, watched, at), "freshness")
    seen.add(from_checks(failed_checks(instance, watched.checks), at, watched.owners), "check")
    runs = from_runs(failed_runs(instance, watched.jobs), at, OWNERS["silver"])
    seen.add(runs, "run")
    seen.add(late_pipeline(instance, watched, known, at, {each.key for each in runs}), "pipeline")
    seen.add(silent_monitor(settings, at), "monitor")
    look_at_files(settings, watched, at, seen)
    look_at_kafka(settings, watched, at, seen)
    wrong, looked_at = connect_conditions(settings.connect, at)
    seen.add(wrong, *looked_at)
    conditions = fold_below(seen.conditions, watched.upstream)
    return evaluate(lake_of(settings), conditions, settings.alerts, at, scope=frozenset(seen.kinds))


def late_events(settings: Settings, watched: Watched, at: datetime) -> list[Condition]:
    """Sources whose newest event is too old. One that never had an event is none of the user's, unless `required`."""
    windows = {name: window for name, window in load_windows(settings.freshness).items() if name in watched.sources}
    newest = newest_events(lake_of(settings), windows, at)
    used = {name: window for name, window in windows.items() if newest.get(name) or window.required}
    return from_freshness(freshness(newest, used, at), at, watched.owners)


def late_pipeline(
    instance: dg.DagsterInstance, watched: Watched, known: Mapping[str, datetime], at: datetime, failed: set[str]
) -> list[Condition]:
    """Assets that were not materialised in time; below the failure of the job that does so, when it fails."""
    states = pipeline_states(instance, [spec.key for spec in watched.assets if spec.freshness_policy])
    conditions = from_asset_freshness(pipeline_facts(states, known, watched.windows, at), at, watched.owners)
    jobs = {each.key: f"run/{LAND if each.asset.startswith('bronze.') else BUILD}" for each in conditions}
    return [replace(each, parent=jobs[each.key] if jobs[each.key] in failed else None) for each in conditions]


def silent_monitor(settings: Settings, at: datetime) -> list[Condition]:
    """A stream monitor that has stopped: it tells its anomalies itself, but not that it is gone."""
    from ad_lakehouse.monitor.table import last_look

    return from_silent_monitor(last_look(lake_of(settings)), at, settings.monitor.owner)


def look_at_files(settings: Settings, watched: Watched, at: datetime, seen: Seen) -> None:
    """Files of the drop folder that wait for somebody; of a folder that cannot be looked at nothing is known."""
    try:
        files = dropped(settings)
    except ConfigurationError:  # landing fails with it, which is told
        return
    seen.add([*unclaimed_files(files, watched, at), *unlanded_files(settings, files, at)], "files")


def unclaimed_files(files: Sequence[Dropped], watched: Watched, at: datetime) -> list[Condition]:
    """Files of the drop folder that no source takes: a misspelt name lands nothing and says nothing."""
    found = files_of_no_source(files, watched.sources)
    if not found:
        return []
    text = f"Nobody lands {', '.join(found[:5])}{' and others' if len(found) > 5 else ''}: no source's `files` fits."
    title = f"{len(found)} dropped file{'s fit' if len(found) > 1 else ' fits'} no source"
    return [Condition("files/unclaimed", "warning", title, text, OWNERS["bronze"], "drop_folder", "files", at)]


def unlanded_files(settings: Settings, files: Sequence[Dropped], at: datetime) -> list[Condition]:
    """Files of the drop folder that could not be landed: nobody else misses their rows."""
    found = broken_files(settings, files)
    if not found:
        return []
    shown = "; ".join(f"{name}: {why}" for name, why in list(found.items())[:5])
    text = f"{shown}{' and others' if len(found) > 5 else ''}. Put it there whole, or take it away."
    title = f"{len(found)} dropped file{'s are' if len(found) > 1 else ' is'} broken"
    return [Condition("files/broken", "error", title, text, OWNERS["bronze"], "drop_folder", "files", at)]


def look_at_kafka(settings: Settings, watched: Watched, at: datetime, seen: Seen) -> None:
    """The lag of every topic; or, when the broker does not answer, that alone."""
    from kafka_sinks.cluster import KafkaUnreachable, TopicMissing
    from kafka_sinks.lag import topic_lag

    if not settings.kafka.bootstrap_servers:
        seen.add([], "kafka", "lag")
        return
    lags: list[PartitionLag] = []
    assets = {}
    for source in watched.sources.values():
        if source.topic is None:
            continue
        assets[source.topic] = f"bronze.{source.name}"
        try:
            for each in topic_lag(lake_of(settings), source, settings.kafka):
                age = at - each.oldest if each.oldest else None
                lags.append(PartitionLag(each.topic, each.partition, each.landed, each.end, age))
        except TopicMissing:
            continue
        except KafkaUnreachable as error:
            owner = OWNERS["bronze"]
            text = f"{error.message} Nothing lands from its topics meanwhile."
            seen.add(
                [Condition(UNREACHABLE, "error", "Kafka does not answer", text, owner, "kafka", "kafka", at)], "kafka"
            )
            return
    conditions = from_lag(lags, at, warn_after=LAG_WARN, late_after=LAG_LATE, assets=assets, owners=watched.owners)
    seen.add(conditions, "kafka", "lag")
