"""The soak's workers: hired, let go, and looked at all the time.

Belongs here: which workers there are, how they ended, what memory they took, what they counted. Not here: what is done
to them (soak_faults.py), the process (landing_service.py).
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Self

import psutil
from landing_service import Worker, ended, metrics

from benchmarks.measure import peak_of

OUT_OF_ORDER = "and the batch begins at"  # told of a table that is put in the place of another; none is
COUNTED = ("commits_total", "conflicts_total", "accepted_rows_total", "quarantined_rows_total")


class Crew:
    """One elder, who is never ended, so that its memory tells of the whole time, and mortals.

    `make` gives a worker that reaches the broker through the proxy, or straight.
    """

    def __init__(self, make: Callable[[bool], Worker]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._counted: dict[int, Counter[str]] = {}
        self._peaks: dict[int, int] = {}
        self._all: list[Worker] = []
        self._ports: dict[int, int] = {}
        self.members: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ended(*self._all):
            pass

    @property
    def elder(self) -> Worker:
        return self.members[0]

    @property
    def mortals(self) -> list[Worker]:
        return self.members[1:]

    def hire(self, proxied: bool) -> Worker:
        worker = self._make(proxied)
        self._all.append(worker)
        self._ports[worker.process.pid] = worker.port  # waits until it serves
        self.members.append(worker)
        return worker

    @property
    def hired(self) -> int:
        return len(self._all)

    @property
    def peak(self) -> int:
        """Bytes of the worker that took most."""
        return max(list(self._peaks.values()), default=0)

    @property
    def elders_peak(self) -> int:
        return self._peaks.get(self._all[0].process.pid, 0)

    def dismiss(self, worker: Worker, number: signal.Signals) -> int:
        """Ends a worker; gives its exit code."""
        self._measure(worker)
        with self._lock:
            self.members.remove(worker)
        code, said = worker.end(number), worker.log.read_text()
        assert OUT_OF_ORDER not in said, f"a worker took the table for another one:\n{said[-4_000:]}"
        return code

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
        return sum(list(self._counted.values()), Counter[str]())

    def _measure(self, worker: Worker) -> None:
        pid = worker.process.pid
        with suppress(OSError, HTTPException, psutil.NoSuchProcess):  # it may be ended meanwhile
            self._peaks[pid] = max(self._peaks.get(pid, 0), peak_of(pid))
            if psutil.Process(pid).status() != psutil.STATUS_STOPPED:
                told: Counter[str] = Counter()
                for name, value in metrics(self._ports[pid]).items():
                    told[name.split("{")[0].removeprefix("ad_lakehouse_sink_")] += int(value)
                self._counted[pid] = Counter({each: told[each] for each in COUNTED})
