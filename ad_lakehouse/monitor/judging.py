"""Complete windows of all sources, judged once each in their order.

Belongs here: which windows are next, of a source and of the CTR made of two. Not here: the judgement (detect.py), begin
and end of an anomaly (watch.py), reading and telling (run.py).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ad_lakehouse.monitor.baseline import Numbers
from ad_lakehouse.monitor.detect import Reading, Usual, judge_ctr, judge_source, usual_ctr, usual_source
from ad_lakehouse.monitor.series import EVENTS, Series
from ad_lakehouse.monitor.watch import Anomaly, Watch
from ad_lakehouse.settings import MonitorSettings

CTR = "ctr"


class Judge:
    """Judges the windows of `sources` from where `start` says: the first window to be judged of each."""

    def __init__(
        self, series: Series, sources: Sequence[str], settings: MonitorSettings, open_now: Sequence[Anomaly] = ()
    ) -> None:
        self._series, self._settings = series, settings
        hits, trials = settings.ctr_of
        self._units: dict[str, tuple[str, ...]] = {each: (each,) for each in sources}
        if hits in sources and trials in sources:
            self._units[CTR] = (hits, trials)
        self._done: dict[str, int] = {}
        self._usual: dict[str, tuple[tuple[int, int], Usual | None]] = {}
        self._watches = {
            unit: Watch(
                of[0], settings.k, settings.n,
                [each for each in open_now if each.source == of[0] and (each.kind == CTR) == (unit == CTR)],
            )
            for unit, of in self._units.items()
        }  # fmt: skip

    def start(self, window: int) -> None:
        """Windows before this one have been judged, or never are."""
        for unit in self._units:
            self._done[unit] = max(window, self._done.get(unit, window))

    def judge(self, complete: Mapping[str, int]) -> list[Anomaly]:
        """What begins and ends in windows that are complete now. `complete`: of each source the first that is not."""
        changes = []
        for unit, of in self._units.items():
            if not all(each in complete for each in of) or self._series.first is None:
                continue
            end = min(complete[each] for each in of)
            if unit not in self._done:
                self._done[unit] = end
            if self._done[unit] < end:
                changes += self._judge(unit, of, end)
                self._done[unit] = end
        return changes

    def _judge(self, unit: str, of: Sequence[str], end: int) -> list[Anomaly]:
        series, settings = self._series, self._settings
        base = series.first or 0
        begins = [series.begins(each) for each in of]
        known = [each for each in begins if each is not None]
        if len(known) < len(begins):
            return []
        first = max(known) - base + 1  # its first window is a part of one
        counts = [series.of(each, end) for each in of]
        watch = self._watches[unit]
        changes: list[Anomaly] = []
        for window in range(max(self._done[unit], base), end):
            at = window - base
            # The past of a few windows is the same: taken where a block of them begins, wherever judging began
            block = max(first, at - window % settings.rate_windows)
            key = block + base, first + base
            if unit not in self._usual or self._usual[unit][0] != key:
                self._usual[unit] = key, self._past(unit, counts, block, first)
            usual = self._usual[unit][1]
            readings: list[Reading] = []
            if usual is not None and at >= first:
                since = {kind: ended - base for kind, ended in watch.ended.items()}
                if unit == CTR:
                    readings = judge_ctr(counts[0][EVENTS], counts[1][EVENTS], at, usual, settings, since)
                else:
                    readings = judge_source(counts[0], at, usual, settings, since)
            changes += watch.step(window, readings)
        return changes

    def _past(self, unit: str, counts: Sequence[Mapping[str, Numbers]], at: int, first: int) -> Usual | None:
        if unit == CTR:
            return usual_ctr(counts[0][EVENTS], counts[1][EVENTS], at, first, self._settings)
        return usual_source(counts[0], at, first, self._settings)


def window_of(at: datetime, seconds: int) -> int:
    """The number of the window that a time lies in."""
    return int(at.timestamp() // seconds)
