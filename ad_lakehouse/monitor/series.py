"""The counts of windows as arrays: one row of numbers a source and measure, one place a window.

Belongs here: adding counts, forgetting old ones. Not here: where they are kept (table.py), what they mean (detect.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ad_lakehouse.monitor.baseline import Numbers

EVENTS = "events"  # accepted, in the window of their event time
ARRIVED = "arrived"  # all records, in the window that was being filled when they came
DUPLICATES, INVALID, LATE = "duplicates", "invalid", "late"  # of those, in the same window
Integers = np.ndarray[Any, np.dtype[np.int64]]
MEASURES = (EVENTS, ARRIVED, DUPLICATES, INVALID, LATE)
LONGEST = 2_000_000  # windows from the first to the last: what lies further back is not held


@dataclass(frozen=True)
class Cells:
    """Counts of a measure of a source: in each of some windows (by number since 1970) so many."""

    source: str
    measure: str
    windows: Integers
    counts: Integers


class Series:
    """Counts of every source from window `first` on; a window that nobody has counted in holds 0."""

    def __init__(self, first: int | None = None) -> None:
        self.first = first
        self._rows: dict[tuple[str, str], Integers] = {}

    def add(self, cells: Iterable[Cells], oldest: int) -> None:
        """Adds counts; those of windows before `oldest` are not held, for they are no baseline any more."""
        for each in cells:
            held = each.windows >= max(oldest, int(each.windows.max(initial=oldest)) - LONGEST)
            windows, counts = each.windows[held], each.counts[held]
            if not len(windows):
                continue
            if self.first is None or windows.min() < self.first:
                self._shift(int(windows.min()))
            places = windows - (self.first or 0)
            key, end = (each.source, each.measure), int(places.max()) + 1
            row = self._rows.get(key, np.zeros(0, np.int64))
            if end > len(row):
                row = np.concatenate([row, np.zeros(max(1_024, end - len(row)), np.int64)])
            np.add.at(row, places, counts)
            self._rows[key] = row

    def forget(self, before: int) -> None:
        """Drops the windows before one."""
        if self.first is not None and before > self.first:
            self._shift(before)

    def begins(self, source: str) -> int | None:
        """The first window in which anything of a source was counted; None when there is none."""
        found = [
            int(np.argmax(row > 0))
            for (of, _), row in self._rows.items()
            if of == source and row.any()
        ]  # fmt: skip
        return min(found) + (self.first or 0) if found else None

    def of(self, source: str, end: int) -> Mapping[str, Numbers]:
        """A source's counts of each measure, from `first` up to, not including, window `end`."""
        length = max(0, end - (self.first or 0))
        found: dict[str, Numbers] = {}
        for measure in MEASURES:
            row = self._rows.get((source, measure), np.zeros(0, np.int64))[:length]
            found[measure] = np.concatenate([row, np.zeros(length - len(row), np.int64)]).astype(np.float64)
        return found

    def _shift(self, first: int) -> None:
        by = 0 if self.first is None else first - self.first
        for key, row in self._rows.items():
            self._rows[key] = row[by:] if by >= 0 else np.concatenate([np.zeros(-by, np.int64), row])
        self.first = first
