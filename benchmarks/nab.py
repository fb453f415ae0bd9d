"""The monitor's judgement of counts on the series of the Numenta Anomaly Benchmark, scored as NAB scores.

Belongs here: reading the series, a score for each point, NAB's scoring. Not here: made-up faults (faulty_traffic.py).

The scoring is that of NAB's standard profile (Lavin and Ahmad 2015, arXiv 1510.03336, section III; code: numenta/NAB,
nab/scorer.py and config/profiles.json): weights TP 1.0, FP 0.11, FN 1.0, a scaled sigmoid of the place in the window,
the first 15 % of a series (at most 750 points) not scored, 0 for a detector that finds nothing and 100 for a perfect
one. As there, one threshold for all series is chosen that scores best. The folder holds 17 of NAB's 58 series (those
of ad exchanges, and the artificial ones), so the score does not compare with NAB's published table.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ad_lakehouse.monitor.baseline import DAY, WEEK, Numbers, expected, past_of

TP, FP, FN = 1.0, 0.11, 1.0
PROBATION, PROBATION_OF = 0.15, 5_000
LEAST_SPREAD = 0.2  # of the standard deviation of two weeks
HINT = (
    "The NAB series are not here: set NAB_DATA (or --nab) to a folder with windows.json "
    "(NAB's labels/combined_windows.json) and NAB's data folders beside it, from https://github.com/numenta/NAB"
)


@dataclass(frozen=True)
class Labelled:
    """One series: times in seconds, values, and the windows of its anomalies as index ranges, both ends inside."""

    name: str
    times: Numbers
    values: Numbers
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        return int(PROBATION * min(len(self.values), PROBATION_OF))


@dataclass(frozen=True)
class Scored:
    """The NAB score (0 to 100, below 0 when worse than nothing), and what it is made of."""

    threshold: float
    score: float
    windows: int
    found: int
    false: int


def read_series(folder: Path) -> list[Labelled]:
    """Every series that `windows.json` names and that is there. Raises `FileNotFoundError` with the hint."""
    labels = folder / "windows.json"
    if not labels.is_file():
        raise FileNotFoundError(HINT)
    found = []
    for name, windows in sorted(json.loads(labels.read_text()).items()):
        if not (folder / name).is_file():
            continue
        with (folder / name).open() as file:
            rows = list(csv.DictReader(file))
        times = np.array([_seconds(row["timestamp"]) for row in rows])
        values = np.array([float(row["value"]) for row in rows])
        spans = [
            (int(np.searchsorted(times, _seconds(a))), int(np.searchsorted(times, _seconds(b), "right")) - 1)
            for a, b in windows
        ]
        found.append(Labelled(name, times, values, tuple(spans)))
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def point_scores(series: Labelled) -> Numbers:
    """How many robust standard deviations each point is off its past; 0 while there is none. No label is looked at.

    A point counts only when it is further off than all of the day before it: an anomaly is told once.
    """
    seconds = float(np.median(np.diff(series.times)))
    least, day, two_weeks = max(24, series.probation // 2), round(DAY / seconds), round(2 * WEEK / seconds)
    values, off = series.values, np.zeros(len(series.values))
    for at in range(len(off)):
        past = past_of(at, 0, seconds, 4, least)
        if past is None:
            continue
        usual = expected(past.of(values), counts=False)
        # A series without noise would call any other value infinitely far off
        least_sigma = LEAST_SPREAD * float(np.std(values[max(0, at - two_weeks) : at]))
        off[at] = abs(values[at] - usual.median) / max(usual.sigma, least_sigma, 1e-6 * abs(usual.median), 1e-9)
    before = [off[max(0, at - day) : at].max(initial=0.0) for at in range(len(off))]
    return np.where(off > np.array(before), off, 0.0)


def scaled_sigmoid(place: float) -> float:
    """NAB's: 1 far before the end of a window, 0 at its end, -1 far behind it."""
    return -1.0 if place > 3.0 else 2 / (1 + math.exp(5 * place)) - 1


def score(series: Sequence[Labelled], scores: Sequence[Numbers], threshold: float) -> Scored:
    """The NAB score of all series at one threshold."""
    raw, windows, found, false = 0.0, 0, 0, 0
    for each, of in zip(series, scores, strict=True):
        hits = np.flatnonzero(of >= threshold)
        hits = hits[hits >= each.probation]
        windows += len(each.windows)
        for left, right in each.windows:
            inside = hits[(hits >= left) & (hits <= right)]
            if len(inside):
                found += 1
                place = -(right - inside[0] + 1) / (right - left + 1)
                raw += TP * scaled_sigmoid(place) / scaled_sigmoid(-1.0)
            else:
                raw -= FN
        for at in hits:
            if any(left <= at <= right for left, right in each.windows):
                continue
            false += 1
            before = [(left, right) for left, right in each.windows if right < at]
            if before:
                left, right = before[-1]
                raw += FP * scaled_sigmoid((at - right) / max(1, right - left))
            else:
                raw -= FP
    nothing, perfect = -FN * windows, TP * windows
    return Scored(threshold, 100 * (raw - nothing) / (perfect - nothing), windows, found, false)


def best(series: Sequence[Labelled], scores: Sequence[Numbers]) -> Scored:
    """The best score over all thresholds that make a difference."""
    thresholds = np.unique(np.round(np.concatenate([each[each > 1] for each in scores]), 1))
    return max((score(series, scores, float(each)) for each in thresholds), key=lambda each: each.score)
