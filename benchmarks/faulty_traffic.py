"""Counts of windows of a made-up week with a daily season, and faults put into them at known times.

Belongs here: the traffic, the faults, what the monitor's judge makes of them. Not here: real series (nab.py),
printing.

Impressions follow the hour (at night a fifth of the evening) and the weekday (weekends 25 % less), drift by a slow
random walk within a few percent, and are Poisson on top; clicks are a binomial part of them. Duplicates, invalid and
late records are small binomial shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ad_lakehouse.monitor.judging import Judge
from ad_lakehouse.monitor.series import ARRIVED, DUPLICATES, EVENTS, INVALID, LATE, Cells, Integers, Series
from ad_lakehouse.monitor.watch import Anomaly
from ad_lakehouse.settings import MonitorSettings

DAY = 86_400
USUAL = {DUPLICATES: 0.008, INVALID: 0.002, LATE: 0.003}
CTR = 0.025
MONDAY = 4 * DAY  # 5 January 1970
KINDS = ("stop", "drop", "spike", "ctr", "duplicates", "invalid", "late")
MINUTES = 10  # how long a fault lasts
AFTER = 600  # seconds after a fault in which something abnormal is still of it
SOURCES = ("impressions", "clicks")


@dataclass(frozen=True)
class Fault:
    """A fault of `kind` in the windows [start, end) of impressions; `ctr` is in both sources."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Outcome:
    """What was found of the faults of one kind, and how soon after they began (seconds, median and worst)."""

    kind: str
    faults: int
    found: int
    median: float
    worst: float


def traffic(
    days: int, a_second: float, seed: int, faults: list[Fault], seconds: int = 10
) -> Mapping[tuple[str, str], Integers]:
    """Counts by (source, measure); `a_second` impressions on an average weekday."""
    random = np.random.default_rng(seed)
    windows = days * DAY // seconds
    at = np.arange(windows) * seconds
    hour = at % DAY / 3_600
    season = 1 + 0.65 * np.sin((hour - 14) / 24 * 2 * np.pi) + 0.1 * np.sin(hour / 12 * 2 * np.pi)
    weekday = np.where(at // DAY % 7 >= 5, 0.75, 1.0)
    walk = np.zeros(windows)
    steps = random.normal(0, 0.002, windows)
    for each in range(1, windows):
        walk[each] = 0.999 * walk[each - 1] + steps[each]
    mean = a_second * seconds * season * weekday * np.exp(walk)
    ctr = np.full(windows, CTR)
    shares = {name: np.full(windows, share) for name, share in USUAL.items()}
    for fault in faults:
        where = slice(fault.start, fault.end)
        if fault.kind in ("stop", "drop", "spike"):
            mean[where] *= {"stop": 0.0, "drop": 0.4, "spike": 2.2}[fault.kind]
        elif fault.kind == "ctr":
            ctr[where] *= 0.3 if fault.start % 2 else 3.0
        else:
            shares[fault.kind][where] = 0.06
    events = random.poisson(mean)
    clicks = random.binomial(events, ctr)
    counts: dict[tuple[str, str], Integers] = {}
    for source, accepted in (("impressions", events), ("clicks", clicks)):
        invalid = random.binomial(accepted, shares[INVALID])
        arrived = accepted + invalid
        counts |= {(source, EVENTS): accepted, (source, ARRIVED): arrived, (source, INVALID): invalid}
        for measure in (DUPLICATES, LATE):
            counts[source, measure] = random.binomial(accepted, shares[measure])
    return counts


def faults_of(first_day: int, days: int, each_day: int, seed: int, seconds: int = 10) -> list[Fault]:
    """Faults of every kind in turn, at random times of slots of equal length, so that none touch."""
    random = np.random.default_rng(seed)
    slot, length = DAY // each_day // seconds, MINUTES * 60 // seconds
    kinds = [KINDS[number % len(KINDS)] for number in range(days * each_day)]
    random.shuffle(kinds)
    begin = first_day * DAY // seconds
    found = []
    for number, kind in enumerate(kinds):
        start = begin + number * slot + int(random.integers(0, slot - 2 * length - 60 * 60 // seconds))
        found.append(Fault(str(kind), start, start + length))
    return found


def judged(
    counts: Mapping[tuple[str, str], Integers], settings: MonitorSettings, first: int, last: int | None = None
) -> list[tuple[int, Anomaly]]:
    """What begins in the windows [first, last), each with the window in which it was noticed."""
    series, base = Series(), MONDAY // settings.window_seconds
    length = len(next(iter(counts.values())))
    windows = np.arange(base, base + length)
    series.add([Cells(*key, windows, row.astype(np.int64)) for key, row in counts.items()], base)
    judge = Judge(series, SOURCES, settings)
    judge.start(base + first)
    return [
        (change.noticed - base, change)
        for change in judge.judge(dict.fromkeys(SOURCES, base + (last or length)))
        if change.ended is None
    ]


def compare(
    faults: list[Fault], found: list[tuple[int, Anomaly]], settings: MonitorSettings, days: float
) -> tuple[list[Outcome], float, list[Any]]:
    """Recall of each kind, and false alarms a day: what begins where no fault is, or soon after one.

    What a fault brings with it counts as of the fault, for example few clicks when impressions stop. A fault is found
    by an anomaly of its kind; one that stops or drops, by either.
    """
    base = MONDAY // settings.window_seconds
    outcomes = []
    for kind in KINDS:
        mine = [each for each in faults if each.kind == kind]
        same = {"stop", "drop"} if kind == "drop" else {kind}
        delays = []
        for fault in mine:
            hits = [at for at, a in found if a.kind in same and fault.start <= at < fault.end + 3]
            if hits:
                delays.append((min(hits) + 1 - fault.start) * settings.window_seconds)
        told = np.array(delays) if delays else np.array([float("nan")])
        outcomes.append(Outcome(kind, len(mine), len(delays), float(np.median(told)), float(np.max(told))))
    spans = [(fault.start, fault.end + AFTER // settings.window_seconds) for fault in faults]
    false = [(at, a) for at, a in found if not any(start <= a.began - base <= end for start, end in spans)]
    return outcomes, len(false) / days, false
