"""What the stream monitor found, as a check of each landed table whose topic it watches.

Belongs here: the checks. Not here: the monitor, which is a process of its own (monitor/), telling anyone (it does).
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source

CHECK = "stream"


def stream_checks(sources: Iterable[Source]) -> dg.AssetChecksDefinition:
    """One check a topic: it fails while an anomaly lasts, and never blocks. Without a monitor nothing fails."""
    tables = [f"bronze.{each.name}" for each in sources if each.topic is not None and not each.dimension]
    specs = [
        dg.AssetCheckSpec(CHECK, asset=asset_key(name), description="No anomaly lasts on the live topic")
        for name in tables
    ]  # fmt: skip

    @dg.multi_asset_check(name="stream_of_topics", specs=specs, can_subset=True)
    def check(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        from ad_lakehouse.monitor.anomalies import open_anomalies

        lasting = open_anomalies(lake_of(settings), settings.monitor.window_seconds)
        for key in sorted(context.selected_asset_check_keys, key=str):
            mine = [each for each in lasting if each.source == key.asset_key.path[-1]]
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=not mine,
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(f"{each.title}. {each.text}" for each in mine) or "no anomaly lasts",
                metadata={each.kind: f"since {each.began:%Y-%m-%d %H:%M:%S} UTC" for each in mine},
            )

    return check
