"""The faults of the soak, by name: what is done, how it is undone, and how it is seen that it really happened.

Belongs here: what happens to workers and around them. Not here: what we do ourselves (soak_acts.py), which of them when
(test_soak.py).
"""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
from confluent_kafka import KafkaException
from landing_service import Worker, health
from soak_stage import Fault, Stage

SESSION = 6.0  # seconds; see landing_service.Worker


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
    stage.busy()
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
    stage.busy()
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
