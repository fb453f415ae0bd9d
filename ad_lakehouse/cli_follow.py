"""`ad-lakehouse land --follow`: the landing service in the foreground, until it is told to stop.

Belongs here: signals, what is printed. Not here: the service (kafka_sinks/service.py), landing once (cli.py).
"""

import logging
import signal
import threading
from collections.abc import Collection
from types import FrameType

from ad_lakehouse.cli_options import console, lake_of
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.landing import create_tables, existing_topics, selected
from ad_lakehouse.settings import Settings
from kafka_sinks.memory import give_freed_memory_back
from kafka_sinks.service import LandingService
from kafka_sinks.sources import load_sources

TELL_SECONDS = 10.0  # between two lines that say what was landed


def follow(settings: Settings, only: Collection[str] | None, host: str, port: int) -> None:
    """Lands the sources' topics until SIGINT or SIGTERM, then what is held, and ends; the same signal again: at once.

    Raises `KafkaUnreachable`, `TopicMissing` for a source that was named, `ConfigurationError`, and at its end the
    first error that ended a source.
    """
    give_freed_memory_back()
    sources = selected(load_sources(settings.landing.sources), only)
    present, absent = existing_topics(sources, settings)
    if absent and only:
        raise absent[0]
    for each in absent:
        console.print(str(each) if each.own else each.message, markup=False)
    if not present:
        raise ConfigurationError("No source has a topic on this broker.", remedy="Create one, then start again.")
    lake = lake_of(settings)
    create_tables(lake, {each.name: each for each in present})
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with LandingService(lake, present, settings, host=host, port=port) as service:
        names = ", ".join(each.name for each in present)
        console.print(
            f"Landing {names} as they come, until Ctrl-C. http://{host}:{service.port}/health and /metrics",
            markup=False,
        )
        told = 0
        while not stop.wait(TELL_SECONDS) and service.alive:
            reports = [each.report for each in service.health.values() if each.report is not None]
            if (records := sum(each.records for each in reports)) != told:
                told = records
                rejected = sum(each.rejected.total() for each in reports)
                console.print(f"{records:,} records landed, {rejected:,} of them rejected", markup=False)
        if stop.is_set():
            console.print("Stopping: landing what is held …")
    service.raise_if_failed()
