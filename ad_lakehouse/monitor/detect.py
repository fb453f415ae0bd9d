"""Whether a window is abnormal: counts against median and MAD, rates against binomial bounds.

Belongs here: the judgement of one window; plain numbers in and out. Not here: what the past is (baseline.py), how
many abnormal windows make an anomaly (watch.py).

What one window cannot tell, since it holds too few events, is asked of it together with those before it: 6, then 60
times as many, for rates also twice as many. So a small source is watched, too, only later. Such a stretch does not
reach back over the end of the last anomaly of the kind, and its newest part must say the same, since a long stretch
still holds what is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ad_lakehouse.monitor.baseline import Expected, Numbers, expected, past_of, usual_rate, wilson
from ad_lakehouse.monitor.series import ARRIVED, DUPLICATES, EVENTS, INVALID, LATE
from ad_lakehouse.settings import MonitorSettings

Kind = Literal["stop", "drop", "spike", "ctr", "duplicates", "invalid", "late"]
SHARES: Mapping[Kind, str] = {"duplicates": DUPLICATES, "invalid": INVALID, "late": LATE}
SCALES = (1, 6, 60)
RATE_SCALES = (1, 2, 6, 60)
STOPPED = 0.01  # of what is expected: a stray record is no traffic
RARE = 0.25  # share of past windows that may have been as empty, for emptiness to be abnormal


@dataclass(frozen=True)
class Reading:
    """What was seen of one kind in one window. `low`, `high`: what would have been normal."""

    kind: Kind
    abnormal: bool
    observed: float
    usual: float
    low: float
    high: float


@dataclass(frozen=True)
class Usual:
    """The past of a window. `counts` by scale, with the share of such stretches that were empty; `rates` by kind, with
    the trials behind them."""

    counts: Mapping[int, tuple[Expected, float]]
    rates: Mapping[Kind, tuple[float, float]]


def usual_source(counts: Mapping[str, Numbers], at: int, first: int, settings: MonitorSettings) -> Usual | None:
    """The past of the window at index `at` of a source that begins at index `first`; None when it is too short."""
    slices = _past(at, first, settings)
    if slices is None:
        return None
    scales = {}
    for scale in SCALES:
        parts = [together(counts[EVENTS][start:end], scale) for start, end in slices if end - start >= scale]
        if parts:
            values = np.concatenate(parts)
            usual = expected(values)
            scales[scale] = usual, float(np.mean(values <= STOPPED * usual.median))
    arrived = counts[ARRIVED]
    return Usual(scales, {kind: _usual_rate(counts[measure], arrived, slices) for kind, measure in SHARES.items()})


def usual_ctr(hits: Numbers, trials: Numbers, at: int, first: int, settings: MonitorSettings) -> Usual | None:
    """The same of the rate of clicks by impressions."""
    slices = _past(at, first, settings)
    return None if slices is None else Usual({}, {"ctr": _usual_rate(hits, trials, slices)})


def judge_source(
    counts: Mapping[str, Numbers], at: int, usual: Usual, settings: MonitorSettings, since: Mapping[Kind, int]
) -> list[Reading]:
    """Traffic, and the shares of duplicates, invalid and late records, in the window at index `at`.

    `counts`: of each measure up to that window at least; `since`: the index that a stretch may reach back to, by kind.
    """
    found = _traffic(counts[EVENTS], at, usual, settings, since)
    for kind, measure in SHARES.items():
        found += _rate(kind, counts[measure], counts[ARRIVED], at, usual, settings, since)
    return found


def judge_ctr(
    hits: Numbers, trials: Numbers, at: int, usual: Usual, settings: MonitorSettings, since: Mapping[Kind, int]
) -> list[Reading]:
    """Clicks by impressions in the window at index `at`, and those before it."""
    return _rate("ctr", hits, trials, at, usual, settings, since)


def together(series: Numbers, windows: int) -> Numbers:
    """Sums of each `windows` neighbours."""
    if windows == 1:
        return series
    sums = np.concatenate([[0.0], np.cumsum(series)])
    found: Numbers = sums[windows:] - sums[:-windows]
    return found


def _past(at: int, first: int, settings: MonitorSettings) -> tuple[tuple[int, int], ...] | None:
    skip = settings.rate_windows + settings.n
    past = past_of(at, first, settings.window_seconds, settings.baseline_weeks, settings.min_history, skip)
    return None if past is None else past.slices


def _usual_rate(hits: Numbers, trials: Numbers, slices: tuple[tuple[int, int], ...]) -> tuple[float, float]:
    return usual_rate([hits[start:end] for start, end in slices], [trials[start:end] for start, end in slices])


def _traffic(
    events: Numbers, at: int, usual: Usual, settings: MonitorSettings, since: Mapping[Kind, int]
) -> list[Reading]:
    found: dict[Kind, Reading] = {}
    newest, alone = float(events[at]), usual.counts[1][0].median
    for scale, (past, empty) in usual.counts.items():
        median = past.median
        if at + 1 < scale or (median < settings.min_volume and scale != SCALES[-1]):
            continue
        observed = float(events[at + 1 - scale : at + 1].sum())
        low = min(median - settings.z * past.sigma, (1 - settings.drop) * median)
        high = max(median + settings.z * past.sigma, (1 + settings.spike) * median)
        enough = median >= settings.min_volume
        stop = enough and observed <= STOPPED * median and empty < RARE
        drop = enough and observed < low and newest <= (1 - settings.drop) * alone and not stop
        spike = observed > high and observed >= settings.min_volume and newest >= (1 + settings.spike) * alone
        abnormal: dict[Kind, bool] = {"stop": stop, "drop": drop, "spike": spike}
        for kind, flag in abnormal.items():
            reaches = scale > 1 and since.get(kind, 0) > at + 1 - scale
            if kind not in found or (flag and not found[kind].abnormal and not reaches):
                found[kind] = Reading(kind, flag and not reaches, observed, median, max(0.0, low), high)
        if low >= (1 - settings.drop) * median and high <= (1 + settings.spike) * median:
            break  # a longer stretch would not see more
    if "stop" in found and found["stop"].abnormal:
        found.pop("drop")
    return list(found.values())


def _rate(
    kind: Kind,
    hits: Numbers,
    trials: Numbers,
    at: int,
    past: Usual,
    settings: MonitorSettings,
    since: Mapping[Kind, int],
) -> list[Reading]:
    """The rate of the last windows; the shortest stretch that tells decides. None when there is too little."""
    usual, behind = past.rates[kind]
    if behind < settings.min_trials:
        return []
    surely_low, surely_high = wilson(usual * behind, behind, settings.rate_z)
    high = max(usual * (1 + settings.rate_shift), surely_high)
    low = usual / (1 + settings.rate_shift) if kind == "ctr" else 0.0
    if kind != "ctr":
        high = max(high, settings.rate_least)
    reading = None
    for scale in RATE_SCALES:
        windows = scale * settings.rate_windows
        x, m = _sums(hits, trials, at, windows, since.get(kind, 0))
        if m < settings.min_trials:
            continue
        under, over = wilson(x, m, settings.rate_z)
        if kind == "ctr":  # surely another rate, and seen beyond the bounds: clicks are too few to wait for both surely
            above, below = under > surely_high and x > high * m, over < surely_low and x < low * m
        else:
            above, below = under > high, False
        abnormal = above or below
        for part in (windows // 3, settings.rate_windows) if abnormal and scale > 1 else ():
            newest, of = _sums(hits, trials, at, part, 0)
            abnormal = abnormal and (newest > high * of if above else newest < low * of)
        if reading is None or abnormal:
            reading = Reading(kind, abnormal, x / m, usual, low, high)
        if abnormal:
            break
    return [] if reading is None else [reading]


def _sums(hits: Numbers, trials: Numbers, at: int, windows: int, since: int) -> tuple[float, float]:
    stretch = slice(max(0, since, at + 1 - windows), at + 1)
    return float(hits[stretch].sum()), float(trials[stretch].sum())
