"""Routing as a service: files as they come, and what is waited for.

Belongs here: looking again, a broker that answers no more. Not here: routing (routing.py), signals (cli_route.py).
"""

import threading
import time
from collections.abc import Callable

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.files.router.reports import RouteReport
from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.files.router.sending import SendFailed
from kafka_sinks.cluster import KafkaRefused, KafkaUnreachable
from kafka_sinks.follow import FIRST_WAIT, LONGEST_WAIT


def follow(
    make: Callable[[], Router],
    stop: threading.Event,
    *,
    settle_seconds: float,
    poll_seconds: float,
    begins: Callable[[], None],
    progress: Callable[[RouteReport], None],
    waits: Callable[[LakehouseError, float], None],
) -> list[LakehouseError]:
    """Routes until `stop`; returns why files wait. `waits` is told what is waited for, and for how many seconds.

    A broker that begins no transaction is asked again, by the same router: its client goes on asking by itself, and
    would fence another one later. A router whose transaction did not end is given up for a new one, which finds out
    what was committed. Raises `KafkaRefused`, `RouterFenced`, `ConfigurationError`, and `KafkaUnreachable` at the
    start: that may be a wrong address.
    """
    router: Router | None = make()
    begins()
    wait = FIRST_WAIT
    while True:
        begun, entered = time.monotonic(), False
        try:
            router = router or make()
            with router:
                entered = True
                while True:
                    router.route(settle_seconds, progress)
                    if stop.wait(poll_seconds):
                        return router.errors
        except KafkaRefused:
            raise
        except (KafkaUnreachable, SendFailed) as error:
            if time.monotonic() - begun > 2 * LONGEST_WAIT:
                wait = FIRST_WAIT  # it had worked in between
            waits(error, wait)
            if stop.wait(wait):
                return [error]
            wait = min(LONGEST_WAIT, wait * 2)
            if entered:
                router = None
