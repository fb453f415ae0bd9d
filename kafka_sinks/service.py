"""The landing service: several sources landed at once, without end, within a bound of memory.

Belongs here: a thread a source, their shares of the memory, the health page, stopping. Not here: one source's work
(follow.py), signals and printing (the command line).
"""

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import KafkaUnreachable, TopicMissing
from kafka_sinks.follow import Follower
from kafka_sinks.health import SourceHealth
from kafka_sinks.health_page import open_page
from kafka_sinks.memory import batch_bytes
from kafka_sinks.sources import Source

LOGGER = logging.getLogger(__name__)
LOOK_SECONDS = 5.0  # between two looks at the ends of the topics


class LandingService:
    """Lands the sources' topics until `stop`. A context manager: threads run between enter and exit."""

    def __init__(self, lake: Lake, sources: Sequence[Source], settings: Settings, *, host: str, port: int) -> None:
        """Raises `ConfigurationError` when the port cannot be opened."""
        limits = settings.landing
        stall = limits.stall_seconds + limits.max_age_seconds
        budget = batch_bytes(limits.memory_bytes, len(sources))
        self.health = {each.name: SourceHealth(each.name, stall) for each in sources}
        self._followers = [Follower(lake, each, settings, self.health[each.name], budget=budget) for each in sources]
        self._page = open_page(host, port, self.health)
        self._threads = [threading.Thread(target=self._run, args=(each,), name=each.source) for each in self._followers]
        self._errors: list[BaseException] = []
        self._ended = threading.Event()

    @property
    def port(self) -> int:
        return int(self._page.server_address[1])

    def __enter__(self) -> Self:
        helpers = [threading.Thread(target=each, daemon=True) for each in (self._page.serve_forever, self._watch)]
        for thread in [*helpers, *self._threads]:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()
        self._ended.set()
        self._page.shutdown()
        self._page.server_close()

    def stop(self) -> None:
        """Each source lands what it holds and ends; returns at once."""
        for follower in self._followers:
            follower.stop()

    @property
    def alive(self) -> bool:
        """Whether a source is still landed."""
        return any(thread.is_alive() for thread in self._threads)

    def raise_if_failed(self) -> None:
        """Raises the first error that ended a source."""
        if self._errors:
            raise self._errors[0]

    def _run(self, follower: Follower) -> None:
        try:
            follower.run()
        except BaseException as error:  # noqa: BLE001  # told by health, raised by raise_if_failed
            self._errors.append(error)
            LOGGER.error("%s is not landed any more: %s", follower.source, error)

    def _watch(self) -> None:
        told: set[str] = set()
        while not self._ended.wait(LOOK_SECONDS):
            for source in self.health.values():
                try:
                    source.look()
                except (KafkaUnreachable, TopicMissing) as error:
                    LOGGER.debug("%s: %s", source.source, error)  # its follower meets it too, and says so
                except LakehouseError as error:
                    LOGGER.warning("%s: %s", source.source, error)
            stalled = {each for source in self.health.values() for each in source.stalls()}
            for each in stalled - told:
                LOGGER.error("%s", each)
            told = stalled
