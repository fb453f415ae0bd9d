"""From abnormal windows to anomalies: k of n begin one, n normal ones end it.

Belongs here: the memory of the last windows of each kind, begin and end. Not here: judging a window (detect.py), the
table of anomalies (anomalies.py).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ad_lakehouse.alerts.stream import TRAFFIC
from ad_lakehouse.monitor.detect import Kind, Reading

Severity = Literal["warning", "error"]
SEVERITY: Mapping[Kind, Severity] = {
    "stop": "error", "drop": "error", "spike": "warning", "ctr": "warning",
    "duplicates": "warning", "invalid": "error", "late": "warning",
}  # fmt: skip


@dataclass(frozen=True)
class Anomaly:
    """One anomaly of a source; windows by number.

    `began` is its first abnormal window, `noticed` the one in which they were k of n, `ended` the first normal one
    behind it, None while it lasts. `observed` was seen when it was noticed; `usual` and the bounds were expected then.
    """

    source: str
    kind: Kind
    began: int
    noticed: int
    ended: int | None
    observed: float
    usual: float
    low: float
    high: float

    @property
    def key(self) -> tuple[str, Kind]:
        return self.source, self.kind

    @property
    def severity(self) -> Severity:
        return SEVERITY[self.kind]

    @property
    def title(self) -> str:
        what = {
            "stop": "no events", "drop": "fewer events than usual", "spike": "more events than usual",
            "ctr": "click-through rate is unusual", "duplicates": "many duplicates",
            "invalid": "many invalid records", "late": "many late events",
        }  # fmt: skip
        return f"{self.source}: {what[self.kind]}"

    @property
    def text(self) -> str:
        if self.kind in TRAFFIC:
            return (
                f"{self.observed:,.0f} events in a stretch that usually has {self.usual:,.0f} "
                f"({self.low:,.0f} to {self.high:,.0f} is normal)."
            )
        return f"{self.observed:.2%}, usually {self.usual:.2%} ({self.low:.2%} to {self.high:.2%} is normal)."


class Watch:
    """The last windows of one source. `step` takes its windows in their order."""

    def __init__(self, source: str, k: int, n: int, open_now: Iterable[Anomaly] = ()) -> None:
        self._source, self._k, self._n = source, k, n
        self._flags: dict[Kind, deque[tuple[int, bool]]] = {}
        self.ended: dict[Kind, int] = {}  # where the last anomaly of each kind ended
        self.open: dict[Kind, Anomaly] = {each.kind: each for each in open_now if each.source == source}

    def step(self, window: int, readings: Iterable[Reading]) -> list[Anomaly]:
        """The anomalies that begin or end with this window. A kind that cannot be judged counts as normal."""
        read = {each.kind: each for each in readings}
        changed = []
        for kind in {**read, **self.open, **self._flags}:
            flags = self._flags.setdefault(kind, deque(maxlen=self._n))
            reading = read.get(kind)
            flags.append((window, reading is not None and reading.abnormal))
            abnormal = [at for at, flag in flags if flag]
            if kind in self.open:
                if not abnormal and len(flags) == self._n:
                    self.ended[kind] = window - self._n + 1
                    changed.append(replace(self.open.pop(kind), ended=self.ended[kind]))
            elif reading is not None and reading.abnormal and len(abnormal) >= self._k:
                found = Anomaly(
                    self._source, kind, abnormal[0], window, None,
                    reading.observed, reading.usual, reading.low, reading.high,
                )  # fmt: skip
                self.open[kind] = found
                changed.append(found)
        return changed
