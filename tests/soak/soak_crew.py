"""The soak's workers: hired, let go, and looked at all the time.

Belongs here: which workers there are, how they ended, what memory they took, what they counted. Not here: what is done
to them (soak_faults.py), the process (landing_service.py).
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import psutil
from landing_service import Worker, ended, metrics

from benchmarks.measure import peak_of

COUNTED = ("commits_total", "conflicts_total", "accepted_rows_total", "quarantined_rows_total")


class Crew:
    """One elder, who is never ended, so that its memory tells of the whole time, and mortals.

    `make` gives a worker that reaches the broker through the proxy, or straight. `peak`: of the worker that took most.
    """

    def __init__(self, make: Callable[[bool], Worker]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._counted: dict[int, Counter[str]] = {}
        self.members: list[Worker] = []
        self.peak = self.elders_peak = 0
        self.hired = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ended(*self.members):
            pass

    @property
    def elder(self) -> Worker:
        return self.members[0]

    @property
    def mortals(self) -> list[Worker]:
        return self.members[1:]

    def hire(self, proxied: bool) -> Worker:
        worker = self._make(proxied)
        _ = worker.port  # waits until it serves
        self.members.append(worker)
        self.hired += 1
        return worker

    def dismiss(self, worker: Worker, number: signal.Signals) -> int:
        """Ends a worker; gives its exit code."""
        self._measure(worker)
        with self._lock:
            self.members.remove(worker)
        return worker.end(number)

    def look(self) -> None:
        """Nobody has ended by itself."""
        with self._lock:
            for worker in self.members:
                code = worker.process.poll()
                assert code is None, f"a worker ended by itself with {code}:\n{worker.log.read_text()[-4_000:]}"
        self.measure()

    def measure(self) -> None:
        """Notes what the workers take and count."""
        for worker in list(self.members):
            self._measure(worker)

    def counts(self) -> Counter[str]:
        """Commits, conflicts and rows that the workers told of; what one did right before a kill is not in it."""
        return sum(self._counted.values(), Counter[str]())

    def _measure(self, worker: Worker) -> None:
        with suppress(OSError, psutil.NoSuchProcess):  # it may be ended meanwhile
            peak = peak_of(worker.process.pid)
            self.peak = max(self.peak, peak)
            if worker is self.members[0]:
                self.elders_peak = peak
            if psutil.Process(worker.process.pid).status() != psutil.STATUS_STOPPED:
                told: Counter[str] = Counter()
                for name, value in metrics(worker.port).items():
                    told[name.split("{")[0].removeprefix("ad_lakehouse_sink_")] += int(value)
                self._counted[worker.process.pid] = Counter({each: told[each] for each in COUNTED})
