"""The faults of the soak, by name: what is done, how it is undone, and how it is seen that it really happened.

Belongs here: single faults. Not here: which of them when (test_soak.py), workers (soak_crew.py), load.

A fault is a context manager: entered, the harm is done; left, it is undone. It tells `happened` once it has seen its
effect; one that had none is not counted, and comes again.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from command_line import cli
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions
from landing_disks import Disk
from landing_network import Net
from landing_service import Worker, health
from landing_topics import IMPRESSIONS, wait_until
from soak_crew import Crew

from ad_lakehouse.lake import Lake
from ad_lakehouse.maintenance import maintain
from ad_lakehouse.settings import MaintenanceSettings

SESSION = 6.0  # seconds; see landing_service.Worker
MOST_WORKERS, MOST_PARTITIONS = 4, 8
SOON = 20.0  # seconds within which an effect is seen

# Lands the drop folder until it has made so many commits, and dies right after the last.
FILE_LANDING = """
import os, signal, sys, time
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.commit import BronzeTable
from kafka_sinks.sources import load_sources

root, folder, commits = sys.argv[1:]
commit, calls = BronzeTable._commit, []
def last(*how):
    commit(*how)
    calls.append(None)
    if len(calls) == int(commits):
        os.kill(os.getpid(), signal.SIGKILL)
BronzeTable._commit = last
while True:
    land_files(Lake(root), load_sources(), folder, Settings(landing=LandingSettings(max_batch_rows=10)))
    time.sleep(0.2)
"""


@dataclass
class Stage:
    """All that faults can hit. The consumer group has the topic's name. `happened` is told a fault and a few words."""

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

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.net.bootstrap, "log_level": 0})

    def seen(self, true: Callable[[], bool], seconds: float = SOON) -> bool:
        """Whether a condition comes true in time."""
        try:
            wait_until(true, seconds)
        except AssertionError:
            return False
        return True

    def hire(self) -> None:
        """As many workers as chance wants, at least one more."""
        wanted = self.chance.randint(2, MOST_WORKERS)
        while len(self.crew.members) < wanted or not self.crew.mortals:
            self.crew.hire(proxied=self.chance.random() < 0.4)


Fault = Callable[[Stage], AbstractContextManager[None]]


def group_members(stage: Stage) -> int:
    """How many workers the group knows; -1 when the broker does not say."""
    admin = stage.admin()
    try:
        described = admin.describe_consumer_groups([stage.topic], request_timeout=5)[stage.topic].result()
    except KafkaException:
        return -1
    return len(described.members)


@contextmanager
def worker_killed(stage: Stage) -> Iterator[None]:
    worker = stage.chance.choice(stage.crew.mortals)
    code = stage.crew.dismiss(worker, signal.SIGKILL)
    assert code == -signal.SIGKILL
    stage.happened("worker killed", f"process {worker.process.pid}")
    yield
    stage.hire()


@contextmanager
def worker_stopped(stage: Stage) -> Iterator[None]:
    worker = stage.chance.choice(stage.crew.mortals)
    code = stage.crew.dismiss(worker, signal.SIGTERM)
    assert code == 0, f"a worker that was told to stop ended with {code}:\n{worker.log.read_text()[-4_000:]}"
    stage.happened("worker stopped", f"process {worker.process.pid}")
    yield
    stage.hire()


@contextmanager
def worker_frozen(stage: Stage) -> Iterator[None]:
    """Past its session: the group has given its partitions to others when it wakes."""
    worker = stage.chance.choice(stage.crew.members)
    worker.send(signal.SIGSTOP)
    begun = time.monotonic()
    yield
    time.sleep(max(0.0, begun + SESSION + 2 - time.monotonic()))
    gone = stage.seen(lambda: 0 <= group_members(stage) < len(stage.crew.members))
    stopped = psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED
    worker.send(signal.SIGCONT)
    if gone and stopped:
        stage.happened("worker frozen", f"process {worker.process.pid} for {time.monotonic() - begun:.0f} s")


@contextmanager
def broker_killed(stage: Stage) -> Iterator[None]:
    process = stage.net.broker.process
    stage.net.broker.kill()
    yield
    stage.net.broker.start()
    assert process is not None
    assert process.poll() == -signal.SIGKILL
    stage.happened("broker killed", "and started again")


@contextmanager
def broker_frozen(stage: Stage) -> Iterator[None]:
    process = stage.net.broker.process
    assert process is not None
    stage.net.broker.pause()
    yield
    stopped = psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    stage.net.broker.resume()
    if stopped:
        stage.happened("broker frozen", "and thawed")


@contextmanager
def connections_cut(stage: Stage) -> Iterator[None]:
    proxy, before = stage.net.proxy, stage.net.proxy.did["cuts"]
    proxy.cuts = 3
    yield
    if stage.seen(lambda: proxy.did["cuts"] > before):
        stage.happened("connections cut", f"{proxy.did['cuts'] - before} in the middle of a fetch")
    proxy.cuts = 0


@contextmanager
def connections_reset(stage: Stage) -> Iterator[None]:
    proxy, before = stage.net.proxy, stage.net.proxy.did["resets"]
    proxy.reset()
    yield
    if proxy.did["resets"] > before:
        stage.happened("connections reset", f"{proxy.did['resets'] - before}")


@contextmanager
def network_slow(stage: Stage) -> Iterator[None]:
    proxy, before = stage.net.proxy, stage.net.proxy.did["throttled"]
    proxy.rate = 20_000
    yield
    proxy.rate = 0
    if proxy.did["throttled"] > before:
        stage.happened("network slow", f"{proxy.did['throttled'] - before} chunks waited")


@contextmanager
def network_swallows(stage: Stage) -> Iterator[None]:
    proxy, before = stage.net.proxy, stage.net.proxy.did["held"]
    proxy.swallow()
    yield
    proxy.heal()
    if proxy.did["held"] > before:
        stage.happened("network swallows", f"{proxy.did['held'] - before} bytes came late")


def told(stage: Stage, problem: str) -> bool:
    """Whether a worker says so on its page."""
    awake = [each for each in stage.crew.members if not frozen(each)]
    return any(problem in str(health(each.port)[1]) for each in awake)


def frozen(worker: Worker) -> bool:
    return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED


@contextmanager
def disk_full(stage: Stage) -> Iterator[None]:
    with stage.disk.full():
        yield
        if stage.seen(lambda: told(stage, "No space left on device")):
            stage.happened("disk full", "and told by a worker")


@contextmanager
def disk_read_only(stage: Stage) -> Iterator[None]:
    with stage.disk.read_only():
        yield
        if stage.seen(lambda: told(stage, "Read-only file system")):
            stage.happened("disk read-only", "and told by a worker")


@contextmanager
def compacted(stage: Stage) -> Iterator[None]:
    cared = maintain(stage.lake, MaintenanceSettings(min_files=2), remove=False)
    failed = [f"{each.name}: {each.remark}" for each in cared if each.failed]
    assert not failed, failed
    if removed := sum(each.compacted.removed for each in cared):
        stage.happened("compaction", f"{removed} files went into fewer")
    yield


@contextmanager
def maintained(stage: Stage) -> Iterator[None]:
    """With vacuum, ledger and log clean-up, as of two days on: so entries are old enough."""
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    cared = maintain(stage.lake, MaintenanceSettings(min_files=2, log_days=1), now=tomorrow)
    failed = [f"{each.name}: {each.remark}" for each in cared if each.failed]
    assert not failed, failed
    entries = sum(each.log_entries for each in cared if each.name == IMPRESSIONS)
    if entries:
        stage.happened("maintenance", f"{entries} log entries removed")
    yield


@contextmanager
def landed_beside(stage: Stage) -> Iterator[None]:
    sources = stage.crew.elder.log.parent
    done = cli(
        stage.folder, "land", "--source", "impressions", LAKE=stage.lake.root,
        KAFKA__BOOTSTRAP_SERVERS=stage.net.bootstrap, LANDING__SOURCES=str(sources),
    )  # fmt: skip
    assert done.returncode == 0, f"a landing beside ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    stage.happened("landing beside", "`ad-lakehouse land`")
    yield


@contextmanager
def file_landing_killed(stage: Stage) -> Iterator[None]:
    """One beside the other landing of files, which goes on where it was cut off."""
    commits = stage.chance.randint(1, 4)
    command = [sys.executable, "-c", FILE_LANDING, stage.lake.root, str(stage.drop), str(commits)]
    done = subprocess.run(command, check=False, timeout=300, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, f"a landing of files ended with {done.returncode}:\n{done.stderr}"
    stage.happened("file landing killed", f"after {commits} commits")
    yield


@contextmanager
def partition_added(stage: Stage) -> Iterator[None]:
    if stage.partitions < MOST_PARTITIONS:
        wanted = stage.partitions + 1
        admin = stage.admin()
        admin.create_partitions([NewPartitions(stage.topic, wanted)])[stage.topic].result(20)
        stage.partitions = wanted
        stage.happened("partition added", f"{wanted} now")
    yield


# What is done by us to a lake and a broker that are well comes first; of the others any order will do.
ACTS: Mapping[str, Fault] = {
    "compaction": compacted,
    "maintenance": maintained,
    "landing beside": landed_beside,
    "file landing killed": file_landing_killed,
    "partition added": partition_added,
}
TO_WORKERS: Mapping[str, Fault] = {
    "worker killed": worker_killed,
    "worker frozen": worker_frozen,
    "worker stopped": worker_stopped,
}
AROUND_THEM: Mapping[str, Fault] = {
    "broker killed": broker_killed,
    "broker frozen": broker_frozen,
    "connections cut": connections_cut,
    "connections reset": connections_reset,
    "network slow": network_slow,
    "network swallows": network_swallows,
    "disk full": disk_full,
    "disk read-only": disk_read_only,
}
FAULTS = ACTS | TO_WORKERS | AROUND_THEM
