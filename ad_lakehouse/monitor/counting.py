"""A decoded batch as counts of windows.

Belongs here: the clock of a partition, in which window a record is counted, what is late. Not here: duplicates
(recent_ids.py), decoding, where the counts go (table.py).

Each partition has a clock: the highest event time so far. It does not pass the time of the record itself, so that one
event of tomorrow does not end today. A rejected record, which has no event time, moves it by the record's time, less
the delay of the last good record: else a producer that sends nothing good any more would stop the clock. Clocks go by
the order within the partition, so counts do not depend on how records were cut into batches.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.monitor.series import ARRIVED, DUPLICATES, EVENTS, INVALID, LATE

Micros = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Clock:
    """How far the events of a partition are, and how long after it the last good record came; microseconds, UTC."""

    newest: int | None = None
    delay: int | None = None


@dataclass(frozen=True, order=True)
class Slot:
    """What is counted: a measure of a partition in a window; `reason` of the rejected ones."""

    window: int
    partition: int
    measure: str
    reason: str = ""


Counts = Counter[Slot]


def micros(column: pa.Array | pa.ChunkedArray) -> Micros:
    """Times as microseconds; 0 where there is none."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.fill_null(whole.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def count_records(
    rows: pa.Table,
    partitions: np.ndarray[Any, Any],
    record_times: Micros,
    duplicates: Flags,
    clocks: dict[int, Clock],
    *,
    window: int,
    lateness: int,
) -> Counts:
    """Counts one decoded batch, and moves the clocks. `window` and `lateness` in microseconds.

    `rows` as `decode_batch` gives them; all arrays have one value a record, in the order of each partition.
    """
    counts: Counts = Counter()
    good = pc.is_null(rows["_reason"]).to_numpy(zero_copy_only=False)
    events = micros(rows["event_ts"])
    reasons = None if good.all() else rows["_reason"].combine_chunks()
    for partition in np.unique(partitions).tolist():
        mine = np.flatnonzero(partitions == partition)
        ok, event, record = good[mine], events[mine], record_times[mine]
        clock = clocks.get(partition, Clock())
        running, delay = _run(ok, event, record, clock)
        before = np.concatenate([[NEVER if clock.newest is None else clock.newest], running[:-1]])
        late = ok & (before != NEVER) & (event < np.where(before == NEVER, 0, before) - lateness)
        arrival = np.where(running == NEVER, record, running) // window
        _count(counts, partition, EVENTS, event[ok] // window)
        _count(counts, partition, ARRIVED, arrival)
        _count(counts, partition, LATE, arrival[late])
        _count(counts, partition, DUPLICATES, arrival[duplicates[mine]])
        if reasons is not None and not ok.all():
            told = reasons.take(pa.array(mine[~ok]))
            for reason in pc.unique(told).to_pylist():
                which = pc.equal(told, reason).to_numpy(zero_copy_only=False)
                _count(counts, partition, INVALID, arrival[~ok][which], reason)
        clocks[partition] = Clock(None if running[-1] == NEVER else int(running[-1]), delay)
    return counts


def _run(ok: Flags, event: Micros, record: Micros, clock: Clock) -> tuple[Micros, int | None]:
    """The clock after each record (NEVER before the first event), and the delay of the last good record."""
    capped = np.minimum(event, record)
    last_good = np.maximum.accumulate(np.where(ok, np.arange(len(ok)), -1))
    delays = (record - capped)[last_good]  # of row -1 where there is none yet, replaced next
    known = last_good >= 0
    if clock.delay is not None:
        delays, known = np.where(known, delays, clock.delay), np.ones_like(known)
    moved = np.where(ok, capped, np.where(known, record - delays, NEVER))
    running: Micros = np.maximum.accumulate(moved)
    if clock.newest is not None:
        running = np.maximum(running, clock.newest)
    return running, int(delays[-1]) if known[-1] else None


def _count(counts: Counts, partition: int, measure: str, windows: Micros, reason: str = "") -> None:
    for each, number in zip(*np.unique(windows, return_counts=True), strict=True):
        counts[Slot(int(each), partition, measure, reason)] += int(number)
