"""What is wrong on the live topics, and a stream monitor that does not run.

Belongs here: conditions made from the monitor's facts. Not here: finding anomalies (monitor/), other facts
(conditions.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ad_lakehouse.alerts.conditions import Condition
from ad_lakehouse.alerts.state import Severity

TRAFFIC = ("stop", "drop", "spike")
SILENT, FORGOTTEN = timedelta(minutes=5), timedelta(days=7)


@dataclass(frozen=True)
class StreamAnomaly:
    """Something unusual on a live topic since `began`: what the stream monitor found."""

    source: str
    kind: str
    severity: Severity
    title: str
    text: str
    began: datetime


def from_anomalies(
    facts: Iterable[StreamAnomaly], now: datetime, ctr_of: tuple[str, str], owner: str = ""
) -> list[Condition]:
    """Anomalies of live topics that last. An unusual CTR is told below that of the traffic it is made of, if any."""
    found = []
    seen = list(facts)
    traffic = {each.source: f"stream/{each.source}/{each.kind}" for each in seen if each.kind in TRAFFIC}
    for each in seen:
        asset = f"bronze.{each.source}"
        parent = next((traffic[of] for of in ctr_of if of in traffic), None) if each.kind == "ctr" else None
        found.append(
            Condition(
                f"stream/{each.source}/{each.kind}", each.severity, each.title,
                f"Since {each.began:%Y-%m-%d %H:%M:%S} UTC: {each.text}",
                owner, asset, each.source, now, parent,
            )
        )  # fmt: skip
    return found


def from_silent_monitor(last: datetime | None, now: datetime, owner: str = "") -> list[Condition]:
    """The stream monitor, when it ran this week and has not looked for some minutes."""
    if last is None or not SILENT < now - last < FORGOTTEN:
        return []
    text = f"Its last look was at {last:%Y-%m-%d %H:%M} UTC. Start it: ad-lakehouse monitor"
    title = "The stream monitor does not run"
    return [Condition("monitor/silent", "error", title, text, owner, "ops.monitor_windows", "monitor", now)]
