"""What a window should look like: median and MAD of the same hour of the week, rates of it.

Belongs here: which windows of the past are compared, and what they say; plain numbers in and out. Not here: whether a
window is abnormal (detect.py), where the counts come from (series.py).

The past windows of a window are those of the hour around it (half an hour before and behind, so that a rise within
the hour is in them) one week ago, two weeks ago and so on. When they are too few, those of the days before at the
same hour; when these are too few, the last hours. So a season is followed from the second day on, the week from the
third week on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float64]]
HOUR, DAY, WEEK = 3_600, 86_400, 604_800
FALLBACK_DAYS = 7
LEAST_WEEKS = 2  # with one week alone, whatever was wrong then would be the rule
RECENT_HOURS = 3
MAD_TO_SIGMA = 1.4826  # of a normal distribution: 1 / quantile(3/4); Leys et al. 2013, J. Exp. Soc. Psychol. 49(4)
BLOCKS = 8  # parts of the past whose rates are taken apart, so that a bad one does not move their median


@dataclass(frozen=True)
class Past:
    """Slices of a series, [start, end) by index, each a stretch of comparable windows; `kind` says which they are."""

    slices: tuple[tuple[int, int], ...]
    kind: str

    def of(self, series: Numbers) -> Numbers:
        return np.concatenate([series[start:end] for start, end in self.slices]) if self.slices else series[:0]


@dataclass(frozen=True)
class Expected:
    """Median and robust standard deviation of a window's past."""

    median: float
    sigma: float


def past_of(at: int, first: int, seconds: float, weeks: int, least: int, skip: int = 0) -> Past | None:
    """The past windows of window `at` of a series that begins at index `first`; None when there are fewer than `least`.

    `seconds` is the length of a window, `skip` the windows just before `at` that are left out of the last hours: an
    anomaly that has just begun is no baseline.
    """
    half = max(1, round(HOUR / 2 / seconds))
    for kind, period, number, fewest in (
        ("hour of week", WEEK, weeks, LEAST_WEEKS), ("hour of day", DAY, FALLBACK_DAYS, 1),
    ):  # fmt: skip
        middles = [at - round(each * period / seconds) for each in range(1, number + 1)]
        whole = [(max(first, middle - half), middle + half + 1) for middle in middles if middle - half >= first]
        if len(whole) >= fewest and sum(end - start for start, end in whole) >= min(least, fewest * (2 * half + 1)):
            return Past(tuple(whole), kind)
    end = at - skip
    start = max(first, end - max(least, round(RECENT_HOURS * HOUR / seconds)))
    return Past(((start, end),), "last hours") if end - start >= least else None


def expected(values: Numbers, *, counts: bool = True) -> Expected:
    """Median and robust standard deviation of past values.

    Counts vary at least as much as a Poisson variable of that mean, and by some 3 %, however calm the sample was.
    """
    median = float(np.median(values))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(values - median)))
    return Expected(median, max(sigma, median**0.5, 0.03 * median, 1.0) if counts else sigma)


def usual_rate(hits: Sequence[Numbers], trials: Sequence[Numbers]) -> tuple[float, float]:
    """The median of the rates of parts of the past, and the trials behind it. 0, 0 when there were no trials."""
    some = list(zip(hits, trials, strict=True))
    if len(some) < BLOCKS:
        cuts = max(1, BLOCKS // max(1, len(some)))
        some = [
            pair
            for h, t in some
            for pair in zip(np.array_split(h, cuts), np.array_split(t, cuts), strict=True)
        ]  # fmt: skip
    sums = [(float(h.sum()), float(t.sum())) for h, t in some]
    rates = [h / t for h, t in sums if t > 0]
    return (float(np.median(rates)), sum(t for _, t in sums)) if rates else (0.0, 0.0)


def wilson(hits: float, trials: float, z: float) -> tuple[float, float]:
    """Bounds of a rate: Wilson's score interval (Wilson 1927, JASA 22:209). Hits above the trials count as all."""
    if trials <= 0:
        return 0.0, 1.0
    rate = min(1.0, hits / trials)
    middle = rate + z * z / (2 * trials)
    width = z * (rate * (1 - rate) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
