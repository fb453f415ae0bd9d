"""How the landing of each source fares: what is landed, what it waits for, which partition does not advance.

Belongs here: the facts, kept by the threads that work, and what they mean. Not here: showing them (health_page.py),
the work (follow.py).
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ad_lakehouse.errors import LakehouseError
from kafka_sinks.cluster import Cluster, Topic
from kafka_sinks.positions import Range
from kafka_sinks.topic_run import LandReport

Phase = Literal["starting", "working", "failed", "stopped"]


@dataclass
class PartitionHealth:
    """A partition that this worker reads: next offset to land, end of the topic, monotonic times.

    `moved`: when it last advanced, or was seen to have nothing more. `committed`: its last commit by this worker.
    """

    landed: int
    end: int
    moved: float
    committed: float | None = None

    @property
    def lag(self) -> int:
        return max(0, self.end - self.landed)


@dataclass
class SourceHealth:
    """What one source's threads tell. `stall_seconds`: a partition with more to read that stands so long is stalled."""

    source: str
    stall_seconds: float
    phase: Phase = "starting"
    error: str = ""  # what ended it
    begun: float = field(default_factory=time.monotonic)  # when it last tried to join the group
    waiting: dict[str, str] = field(default_factory=dict)  # by step of the work, what it waits for
    report: LandReport | None = None
    partitions: dict[int, PartitionHealth] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asks: tuple[Cluster, Topic, Callable[[], bool]] | None = None

    def runs(self, cluster: Cluster, topic: Topic, joined: Callable[[], bool]) -> None:
        """The source's topic is about to be read, anew; `joined` says whether the group has taken us in."""
        with self._lock:
            self._asks, self.partitions = (cluster, topic, joined), {}
        self.waiting.clear()
        self.phase, self.begun = "starting", time.monotonic()

    def begins(self, starts: Mapping[int, int]) -> None:
        """Partitions that are read from now on, each from its position in the table."""
        now, self.phase = time.monotonic(), "working"
        with self._lock:
            self.partitions |= {partition: PartitionHealth(start, start, now) for partition, start in starts.items()}

    def ends(self, partitions: Collection[int]) -> None:
        """Partitions that are not read any more."""
        with self._lock:
            self.partitions = {p: each for p, each in self.partitions.items() if p not in partitions}

    def works(self, step: str) -> None:
        self.waiting.pop(step, None)

    def waits(self, step: str, error: LakehouseError) -> None:
        self.waiting[step] = str(error)

    def failed(self, error: BaseException) -> None:
        self.phase, self.error = "failed", str(error) or type(error).__name__

    def stopped(self) -> None:
        self.phase = "stopped"

    def landed(self, report: LandReport, ranges: Mapping[int, Range], *, by_us: bool) -> None:
        """A batch is in the table, by this worker or by another one that was before."""
        now = time.monotonic()
        with self._lock:
            self.report = report
            for partition, each in ranges.items():
                if (known := self.partitions.get(partition)) is not None:  # else it was taken away meanwhile
                    known.landed, known.moved = max(known.landed, each.end), now
                    known.committed = now if by_us else known.committed

    def look(self) -> None:
        """Asks the broker where the topic ends. Raises `KafkaUnreachable` or `TopicMissing`."""
        with self._lock:
            asks = self._asks
        if asks is None:
            return
        cluster, topic, joined = asks
        if self.phase == "starting" and joined():  # perhaps without a partition: others have them all
            self.phase = "working"
        ours = tuple(self.partitions)  # not those of the topic as it was described: some may have been added
        now, ends = time.monotonic(), cluster.watermarks(replace(topic, partitions=ours)) if ours else {}
        with self._lock:
            for partition, each in self.partitions.items():
                each.end = ends[partition].stable if partition in ends else each.end
                each.moved = each.moved if each.lag else now

    def stalled(self) -> dict[int, PartitionHealth]:
        """The partitions that do not advance though the topic has more."""
        now = time.monotonic()
        with self._lock:
            return {
                p: each for p, each in self.partitions.items() if each.lag and now - each.moved > self.stall_seconds
            }

    def stalls(self) -> list[str]:
        """A sentence for each stalled partition."""
        now = time.monotonic()
        return [
            f"{self.source}, partition {partition}: nothing landed for {now - each.moved:.0f} s, though offsets "
            f"{each.landed} to {each.end - 1} are there."
            for partition, each in self.stalled().items()
        ]

    @property
    def phase_shown(self) -> str:
        """The phase, or `waiting`."""
        return "waiting" if self.waiting and self.phase in ("starting", "working") else self.phase

    @property
    def up(self) -> bool:
        """Whether it is landed, and waits for nothing."""
        return self.phase == "working" and not self.waiting

    def problems(self) -> list[str]:
        """Why this source is not well; empty when it is."""
        if self.phase == "failed":
            return [self.error]
        if self.phase == "stopped":
            return []
        idle = time.monotonic() - self.begun
        slow = self.phase == "starting" and not self.waiting and idle > self.stall_seconds
        told = [f"{self.source}: the consumer group has not taken it in for {idle:.0f} s."] if slow else []
        return [*dict(self.waiting).values(), *told, *self.stalls()]
