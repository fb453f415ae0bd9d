"""Running one measured step in a process of its own.

Belongs here: wall time, CPU seconds and peak memory of a step. Not here: what the steps do.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

MARK = "measured:"


@dataclass(frozen=True)
class Measured:
    """What one step took: seconds, CPU seconds (all threads), peak resident bytes, and how many rows it did.

    With the processes that it started and that still run, as Spark's Java; their peaks are added up.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    rows: int

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_per_million(self) -> float:
        return self.cpu_seconds / self.rows * 1e6


def report(step: Callable[[], int]) -> None:
    """Runs `step` (which returns its number of rows) in this process and prints what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    rows = step()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    peak = peak_of(os.getpid())  # ru_maxrss would begin with the peak of the process that started this one
    for child in psutil.Process().children():
        of_child = used(child)
        cpu += of_child[0]
        peak += of_child[1]
    print(MARK + json.dumps(asdict(Measured(seconds, cpu, peak, rows))), flush=True)


def used(process: psutil.Process) -> tuple[float, int]:
    """CPU seconds and peak resident bytes of a running process with those it started; their peaks are added up."""
    cpu, peak = 0.0, 0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        cpu += times.user + times.system + times.children_user + times.children_system  # children: those that ended
        peak += peak_of(each.pid)
    return cpu, peak


def peak_of(pid: int) -> int:
    """Bytes that a running process had resident at most; 0 of one that has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def measured(module: str, *arguments: Any) -> Measured:
    """Runs `python -m module arguments…`, which calls `report`, and returns what it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        raise RuntimeError(
            f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return Measured(**json.loads(lines[-1].removeprefix(MARK)))
