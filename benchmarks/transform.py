"""A full build of 30 days of history, and a build after one late event in it, on either engine.

Belongs here: making the history with the demo's generator, the three builds. Not here: landing speed.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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
    replaced: Counter[str]


@dataclass(frozen=True)
class History:
    """A landed history in a folder of its own, ended at `end`."""

    demo: DemoHome
    end: datetime
    events: int


@contextmanager
def history(impressions: int) -> Iterator[History]:
    """`impressions` over 30 days with their clicks, conversions and bids; nothing is built."""
    end = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        demo = DemoHome(Path(folder) / "landed")
        publish(generate(GeneratorConfig(end=end, impressions=impressions, days=DAYS)), None, demo)
        settings = load_settings(lake=str(demo.lake))
        yield History(demo, end, land_all(Lake(str(demo.lake)), settings, folder=str(demo.drop), topics=False).records)


def builds(history: History, *how: str) -> Transformed:
    """Builds on a copy of the lake: all of it, after one late event, when nothing is new. `how`: see build_once."""
    demo = DemoHome(history.demo.lake.parent.parent / "-".join(["built", *how]))
    shutil.copytree(history.demo.lake, demo.lake)
    demo.drop.mkdir(parents=True, exist_ok=True)
    lake, settings = Lake(str(demo.lake)), load_settings(lake=str(demo.lake))
    full = measured("benchmarks.build_once", demo.lake, *how)
    before = versions(lake)
    late = {
        "event_id": "late-one", "event_ts": (history.end - timedelta(days=12)).isoformat(),
        "creative_id": "hudson-brand-1", "user_id": "late-user", "site": "late.example",
    }  # fmt: skip
    (demo.drop / "late.jsonl").write_text(json.dumps(late) + "\n")
    if land_all(lake, settings, folder=str(demo.drop), topics=False, settle_seconds=0).records != 1:
        raise RuntimeError("the late event did not land")
    one = measured("benchmarks.build_once", demo.lake, *how)
    replaced = Counter({name: len(changed(lake, name, before[name]) - {None}) for name in MARTS})
    nothing = measured("benchmarks.build_once", demo.lake, *how)
    return Transformed(history.events, full, one, nothing, replaced)


def versions(lake: Lake) -> dict[str, int]:
    return {str(name): lake.open(name).version() for name in lake.tables()}


def changed(lake: Lake, table: str, since: int) -> set[object]:
    """Days whose data a table's commits after `since` changed."""
    name = TableName.parse(table)
    opened = lake.open(name)
    column = opened.metadata().partition_columns[0]
    return set(TableLog(lake, name).changed_days(column, since, opened.version()) or ())
