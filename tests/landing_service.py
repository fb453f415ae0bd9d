"""Landing services as the tests run them: in this process, or as processes that can be killed.

Belongs here: starting them, asking their page. Not here: topics and tables (landing_topics.py), assertions.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landing_topics import IMPRESSIONS, landed_records, settings_for, wait_until

from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings
from kafka_sinks.service import LandingService
from kafka_sinks.sources import Source


@contextmanager
def service(lake: Lake, settings: Settings, *sources: Source) -> Iterator[LandingService]:
    """A service in this process, on a free port."""
    with LandingService(lake, sources, settings, host="127.0.0.1", port=0) as running:
        yield running


def followed(bootstrap: str, **landing: Any) -> Settings:
    """Settings of a service that commits often."""
    return settings_for(bootstrap, **{"max_age_seconds": 0.3, **landing})


def page(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page of a service."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(port: int) -> dict[str, float]:
    """Each metric with its labels, and its value."""
    lines = [line for line in page(port, "/metrics")[1].splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def health(port: int) -> tuple[int, dict[str, Any]]:
    """Status and content of the health page."""
    status, text = page(port, "/health")
    return status, json.loads(text)


def wait_landed(lake: Lake, topic: str, count: int, seconds: float = 120.0) -> None:
    """Waits until so many records of a topic are in the table, accepted or rejected."""
    wait_until(
        lambda: lake.open_if_exists(IMPRESSIONS) is not None and landed_records(lake, topic).total() >= count, seconds
    )


class Worker:
    """`ad-lakehouse land --follow` in a process of its own, landing impressions from one topic.

    `fault` is Python that runs first: it puts something in the way of real calls.
    """

    def __init__(
        self, lake: Lake, bootstrap: str, topic: str, group: str, folder: Path, fault: str = "", **environment: str
    ) -> None:
        sources = folder / f"sources-{uuid.uuid4().hex[:6]}"
        sources.mkdir()
        (sources / "impressions.yml").write_text(f"topic: {topic}\n")
        self.log = sources / "log"
        named = {
            "AD_LAKEHOUSE_LAKE": lake.root,
            "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "AD_LAKEHOUSE_KAFKA__GROUP": group,
            # What a broker lets a member be silent at least, so that a dead one is missed soon
            "AD_LAKEHOUSE_KAFKA__CLIENT": json.dumps({"session.timeout.ms": "6000"}),
            "AD_LAKEHOUSE_LANDING__SOURCES": str(sources),
            "AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS": "500",
            **environment,
        }
        program = f"{fault}\nfrom ad_lakehouse.cli import main\nmain()"
        command = [sys.executable, "-c", program, "land", "--follow", "--source", "impressions"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", "0", "--max-age", "0.3"], env=os.environ | named, stdout=log, stderr=log
            )

    @property
    def port(self) -> int:
        """The port of its page; waits until it is told."""

        def told() -> str:
            assert self.process.poll() is None, self.log.read_text()
            return self.log.read_text()

        wait_until(lambda: "/health" in told(), 60)
        return int(told().split("http://127.0.0.1:")[1].split("/")[0])

    def partitions(self) -> set[int]:
        """The partitions it reads now."""
        names = [name for name in metrics(self.port) if name.startswith("ad_lakehouse_sink_landed_offset")]
        return {int(name.split('partition="')[1].split('"')[0]) for name in names}

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it and gives its exit code."""
        if self.process.poll() is None:
            self.send(number)
        return self.process.wait(60)


def shares(workers: Sequence[Worker], partitions: int) -> bool:
    """Whether the workers read all partitions, each at least one, none two of them the same."""
    read = [worker.partitions() for worker in workers]
    return all(read) and sum(map(len, read)) == partitions == len(set().union(*read))


@contextmanager
def ended(*workers: Worker) -> Iterator[None]:
    """Kills what still runs at the end."""
    try:
        yield
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.send(signal.SIGCONT)
                worker.end(signal.SIGKILL)
