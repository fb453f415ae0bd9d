"""When an asset was not brought up to date in time, and when a source's events are too old.

Belongs here: Dagster's freshness policies, what their states mean for alerts. Not here: event time itself
(quality/freshness.py), asking Dagster (instance_facts.py), telling (alerts.py).

A materialisation says that the pipeline looked and brought the table up to date, also when nothing was new: the
triggers materialise everything at least every `VERIFY_EVERY`. So pipeline freshness tells that Dagster does not run;
that nothing arrives is told by event time.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from ad_lakehouse.alerts.conditions import AssetFreshness
from ad_lakehouse.defs.instance_facts import PipelineState
from ad_lakehouse.quality.freshness import load_windows

VERIFY_EVERY = timedelta(minutes=15)  # well inside every warn window, so that a quiet night is not a stale one
WARN_AFTER, FAIL_AFTER = timedelta(hours=1), timedelta(hours=3)  # for tables without a window of their own
SHORTEST = timedelta(minutes=1)  # Dagster refuses less


def pipeline_windows(source: str | None = None, own: Path | None = None) -> tuple[timedelta, timedelta]:
    """(warn, fail): the source's own event window (`own`: the user's file of windows), else the general one."""
    window = load_windows(own).get(source or "")
    return (window.warn, window.late) if window else (WARN_AFTER, FAIL_AFTER)


def pipeline_policy(source: str | None = None, own: Path | None = None) -> dg.FreshnessPolicy:
    """Dagster's freshness policy of a landed source's table, or of a model's."""
    warn, fail = pipeline_windows(source, own)
    fail = max(fail, SHORTEST)
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn if SHORTEST <= warn < fail else None)


def pipeline_facts(
    states: Mapping[str, PipelineState],
    known_since: Mapping[str, datetime],
    windows: Mapping[str, timedelta],
    now: datetime,
) -> list[AssetFreshness]:
    """States as the alerts take them.

    An asset that was never materialised stays UNKNOWN in Dagster for ever: it has failed once it is known for
    longer than its window.
    """
    facts = []
    for asset, state in sorted(states.items()):
        new = state.state
        if new == "UNKNOWN" and not state.materialised:
            overdue = now - known_since.get(asset, now) > windows[asset]
            new = "FAIL" if overdue else "UNKNOWN"
        facts.append(AssetFreshness(asset, new, new))
    return facts


def remembered(known_since: Mapping[str, datetime], assets: Collection[str], now: datetime) -> dict[str, datetime]:
    """Since when each asset is known: those that are new, from now on; those that are gone, no more."""
    return {asset: known_since.get(asset, now) for asset in sorted(assets)}
