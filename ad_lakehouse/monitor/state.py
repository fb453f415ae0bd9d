"""What one session of the monitor knows: counts, which windows were judged, what is open and told.

Belongs here: what is taken from the tables at a start, anomalies recorded and handed to the alerts. Not here: reading
and committing counts (run.py), judging (judging.py).
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from deltalake.exceptions import DeltaError

from ad_lakehouse.alerts import evaluate
from ad_lakehouse.alerts.stream import from_anomalies
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.anomalies import AnomaliesTable
from ad_lakehouse.monitor.judging import Judge, window_of
from ad_lakehouse.monitor.series import Series
from ad_lakehouse.monitor.table import Counted, Kept
from ad_lakehouse.monitor.watch import Anomaly
from ad_lakehouse.settings import Settings

LOGGER = logging.getLogger(__name__)
TELL_SECONDS = 30.0  # alerts are evaluated at least so often, for deliveries that wait
AGAIN_SECONDS = 3_600  # windows before the last complete one that are judged again at a start


class State:
    """What one session knows: counts, what is open, what was told when."""

    def __init__(self, lake: Lake, settings: Settings, sources: Sequence[str], kept: Kept, now: datetime) -> None:
        self._lake, self._settings, self._seconds = lake, settings, settings.monitor.window_seconds
        self._series = Series()
        self._series.add(kept.cells, self._oldest(now))
        newest = [each.newest // (self._seconds * 1_000_000) for each in kept.clocks.values() if each.newest]
        again = max(1, AGAIN_SECONDS // self._seconds)
        judged = window_of(now, self._seconds) - int(settings.monitor.judge_within_seconds // self._seconds)
        first = max(judged, min(newest) - again) if newest else judged
        self._anomalies = AnomaliesTable(lake, self._seconds)
        open_now = self._anomalies.open_at(first)
        self._judge = Judge(self._series, sources, settings.monitor, open_now)
        self._judge.start(first)
        # Until a source is read up to the present, only what was told before is told on
        self._before = {each.key for each in self._anomalies.known.values() if each.ended is None}
        self._present: set[str] = set()
        self.beat = self._told_at = float("-inf")
        self._had = False
        # The heartbeat is of the evaluation of everything else: ours would hide that it is dead
        self._alerts = settings.alerts.model_copy(update={"heartbeat_url": None})

    def _oldest(self, now: datetime) -> int:
        past = (self._settings.monitor.baseline_weeks * 7 + 1) * 86_400
        return window_of(now, self._seconds) - past // self._seconds

    def count(self, counted: Sequence[Counted], now: datetime) -> None:
        self._series.add([cells for each in counted for cells in each.cells()], self._oldest(now))
        self._series.forget(self._oldest(now))

    def judge(self, complete: Mapping[str, int], now: datetime) -> list[Anomaly]:
        return self._anomalies.add(self._judge.judge(complete), now)

    def tell(self, complete: Mapping[str, int], now: datetime) -> None:
        """Hands what is open to the alerts; at once when something is, else from time to time."""
        present = window_of(now, self._seconds) - self._settings.monitor.alert_within_seconds // self._seconds
        self._present |= {source for source, window in complete.items() if window >= present}
        found = [
            each
            for each in self._anomalies.lasting()
            if each.source in self._present or (each.source, each.kind) in self._before
        ]
        if not found and not self._had and time.monotonic() - self._told_at < TELL_SECONDS:
            return
        self._had = bool(found)
        self._told_at = time.monotonic()
        conditions = from_anomalies(found, now, self._settings.monitor.ctr_of, self._settings.monitor.owner)
        try:
            evaluate(self._lake, conditions, self._alerts, now, scope=frozenset({"stream"}))
        except (LakehouseError, DeltaError, OSError) as error:  # told at the next look; counting goes on
            LOGGER.warning("%s", error)
