"""All that the faults of the soak can hit, and what a fault is.

Belongs here: the stage. Not here: faults (soak_faults.py, soak_acts.py).

A fault is a context manager: entered, the harm is done; left, it is undone. It tells `happened` once it has seen its
effect; one that had none is not counted, and comes again.
"""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from landing_disks import Disk
from landing_network import Net
from landing_topics import wait_until
from soak_crew import Crew

from ad_lakehouse.lake import Lake

MOST_WORKERS, MOST_PARTITIONS = 4, 8
SOON = 20.0  # seconds within which an effect is seen


@dataclass
class Stage:
    """All that faults can hit. The consumer group has the topic's name.

    `happened` is told a fault and a few words; `burst` asks the load for many records at once.
    """

    net: Net
    disk: Disk
    lake: Lake
    topic: str
    crew: Crew
    chance: random.Random
    folder: Path
    drop: Path
    partitions: int = 4
    happened: Callable[[str, str], None] = lambda *_: None
    burst: Callable[[], None] = lambda: None

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.net.bootstrap, "log_level": 0})

    def seen(self, true: Callable[[], bool], seconds: float = SOON) -> bool:
        """Whether a condition comes true in time."""
        try:
            wait_until(true, seconds)
        except AssertionError:
            return False
        return True

    def busy(self) -> None:
        """Workers have batches in hand, of which one is perhaps being committed."""
        self.burst()
        time.sleep(self.chance.uniform(0.1, 0.8))

    def hire(self) -> None:
        """As many workers as chance wants, at least one more."""
        wanted = self.chance.randint(2, MOST_WORKERS)
        while len(self.crew.members) < wanted or not self.crew.mortals:
            self.crew.hire(proxied=self.chance.random() < 0.4)


Fault = Callable[[Stage], AbstractContextManager[None]]
