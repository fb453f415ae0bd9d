"""How a process that lands keeps its memory small.

Belongs here: the collector, the allocator, shares of a bound. Not here: what is held (batch.py, topic_run.py).
"""

import gc
import threading

import pyarrow as pa

from ad_lakehouse.errors import ConfigurationError

COLLECT_AT = 100_000  # container objects more than freed, at which Python looks for garbage; its default is 700
PROGRAM_BYTES = 450 << 20  # resident when the first records are read: Python, Arrow, DuckDB, Delta
LEAST_BATCH = 1 << 20
COPIES = 40  # bytes of memory that a byte of a batch's payload takes on its way, in all batches under way together


class RareCollection:
    """While entered, Python looks for garbage rarely: it would look at each message several times, and finds none.

    Messages form no cycles. A process has one collector, so it is set back when the last reader of several ends.
    """

    def __init__(self) -> None:
        self._lock, self._entered, self._before = threading.Lock(), 0, gc.get_threshold()

    def __enter__(self) -> None:
        with self._lock:
            if not self._entered:
                self._before = gc.get_threshold()
                gc.set_threshold(COLLECT_AT, *self._before[1:])
            self._entered += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                gc.set_threshold(*self._before)


RARE_COLLECTION = RareCollection()


def give_freed_memory_back() -> None:
    """For a process that does nothing but land: Arrow frees large buffers to the system, and keeps none for later."""
    pa.set_memory_pool(pa.system_memory_pool())


def batch_bytes(memory: int, sources: int) -> int:
    """Bytes of payload that a batch of each of several sources may hold, so that all stay within `memory` bytes.

    Raises `ConfigurationError` when that is less than a megabyte.
    """
    least = PROGRAM_BYTES + sources * COPIES * LEAST_BATCH
    if memory < least:
        raise ConfigurationError(
            f"{sources} sources need {least >> 20} MiB, and the service may use {memory >> 20} MiB.",
            remedy="Raise AD_LAKEHOUSE_LANDING__MEMORY_BYTES, or give some sources to a service of their own.",
        )
    return (memory - PROGRAM_BYTES) // (COPIES * sources)
