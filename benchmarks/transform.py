"""A full build of 30 days of history, and a build after one late event in it.

Belongs here: making the history with the demo's generator, the three builds. Not here: landing speed.
"""

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import generate
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.publish import publish
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.landing import land_all
from ad_lakehouse.settings import load_settings
from benchmarks.measure import Measured, measured

DAYS = 30
MARTS = ("silver.impressions", "attribution.paths", "attribution.credits", "marts.campaign_daily", "marts.funnel_daily")


@dataclass(frozen=True)
class Transformed:
    """Events in the lake; what the builds took; days replaced by the late event's build, by table."""

    events: int
    full: Measured
    late: Measured
    nothing: Measured
    again: Measured
    replaced: Counter[str]


def transform(impressions: int) -> Transformed:
    """Lands a history of `impressions` with their clicks, conversions and bids, then builds four times."""
    end = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        demo = DemoHome(Path(folder))
        publish(generate(GeneratorConfig(end=end, impressions=impressions, days=DAYS)), None, demo)
        lake, settings = Lake(str(demo.lake)), load_settings(lake=str(demo.lake))
        events = land_all(lake, settings, folder=demo.drop, topics=False).records
        full = measured("benchmarks.build_once", demo.lake)
        before = versions(lake)
        late = {
            "event_id": "late-one", "event_ts": (end - timedelta(days=12)).isoformat(), "creative_id": "hudson-brand-1",
            "user_id": "late-user", "site": "late.example",
        }  # fmt: skip
        (demo.drop / "late.jsonl").write_text(json.dumps(late) + "\n")
        if land_all(lake, settings, folder=demo.drop, topics=False, settle_seconds=0).records != 1:
            raise RuntimeError("the late event did not land")
        one = measured("benchmarks.build_once", demo.lake)
        replaced = Counter({name: len(changed(lake, name, before[name]) - {None}) for name in MARTS})
        nothing = measured("benchmarks.build_once", demo.lake)
        again = measured("benchmarks.build_once", demo.lake, "full")
    return Transformed(events, full, one, nothing, again, replaced)


def versions(lake: Lake) -> dict[str, int]:
    return {str(name): lake.open(name).version() for name in lake.tables()}


def changed(lake: Lake, table: str, since: int) -> set[object]:
    """Days whose data a table's commits after `since` changed."""
    name = TableName.parse(table)
    opened = lake.open(name)
    column = opened.metadata().partition_columns[0]
    return set(TableLog(lake, name).changed_days(column, since, opened.version()) or ())
