"""kill -9 of a router at chosen and at random moments, and zombies: each row is on its topic once.

Belongs here: routers in processes of their own that die or freeze. Not here: files that are odd (test_router.py).
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Queue

import pytest
from landing_topics import impression, wait_until
from router import World, places

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.files.router import sending
from ad_lakehouse.files.router.follow import follow
from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.files.router.sending import RouterFenced

pytestmark = pytest.mark.kafka
ROWS = 20  # of a transaction
ROUTER = """
import os, signal, sys, time
from dataclasses import replace
from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.files.router.sending import Sender
from ad_lakehouse.settings import RouterSettings
from kafka_sinks.sources import load_sources
from landing_topics import settings_for

bootstrap, folder, topic, routed, rows, at = sys.argv[1:]
at, calls = int(at), []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{fault}

settings = settings_for(bootstrap)
settings.router = RouterSettings(progress_topic=routed, rows_per_transaction=int(rows))
sources = load_sources()
sources["impressions"] = replace(sources["impressions"], topic=topic)
with Router(sources, folder, settings) as router:
    print("begun", flush=True)
    router.route()
"""
# The signal may reach another thread first, and the one that sends it must not commit meanwhile
FREEZE = "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(0.5)"
BEFORE_THE_COMMIT = """
commit = Sender._commit
def last(sender):
    calls.append(None)
    if len(calls) == at:
        sender._producer.flush(10)  # the rows are on the broker, in an open transaction
        die()
    commit(sender)
Sender._commit = last
"""
AFTER_THE_COMMIT = """
commit = Sender._commit
def last(sender):
    commit(sender)
    calls.append(None)
    if len(calls) == at:
        die()
Sender._commit = last
"""
BETWEEN_FILES = """
take = Router._take
def last(*how):
    calls.append(None)
    if len(calls) == at:
        die()
    return take(*how)
Router._take = last
"""
WITH_ROWS_HALF_PRODUCED = """
produce = Sender._produce
def last(sender, each):
    calls.append(None)
    if len(calls) == at * 20 + 7:
        sender._producer.flush(10)
        die()
    produce(sender, each)
Sender._produce = last
"""
SLOWLY = """
commit = Sender._commit
def slow(sender):
    time.sleep(0.03)
    commit(sender)
Sender._commit = slow
"""


def router(world: World, fault: str, at: int = 0, **popen: int) -> subprocess.Popen[bytes]:
    """A routing process with a fault in it."""
    how = [world.bootstrap, str(world.folder), world.topic("impressions"), f"routed-{world.name}", str(ROWS), str(at)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", ROUTER.replace("{fault}", fault), *how],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **popen,
    )


def filled(world: World) -> Counter[tuple[str, int]]:
    """Puts three files there; what must be on the topic."""
    expected: Counter[tuple[str, int]] = Counter()
    for number, rows in enumerate((70, 5, 100)):
        content = b"".join(impression(1_000 * number + row) + b"\n" for row in range(rows))
        (world.folder / f"{number}.jsonl").write_bytes(content)
        expected.update((hashlib.sha256(content).hexdigest(), row) for row in range(rows))
    return expected


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        (BEFORE_THE_COMMIT, 3),
        (AFTER_THE_COMMIT, 3),
        (AFTER_THE_COMMIT, 4),
        (BETWEEN_FILES, 2),
        (WITH_ROWS_HALF_PRODUCED, 1),
    ],
    ids=["before a commit", "after a commit", "after a file's last commit", "between files", "rows half produced"],
)
def test_each_row_is_there_once_after_a_kill(kafka: KafkaBroker, tmp_path: Path, fault: str, at: int) -> None:
    world = World(kafka.bootstrap, tmp_path / "drop", "impressions")
    expected = filled(world)
    dying = router(world, fault, at)
    _, told = dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL, told.decode()
    sent = places(world.seen("impressions"))
    assert sent < expected, "nothing was left to do"
    assert not sent or sent.total() % ROWS in (0, 10, 15), "a transaction is there by halves"
    reports = world.route(world.settings(rows_per_transaction=33))
    assert sum(each.rows for each in reports.values()) == expected.total() - sent.total()
    assert places(world.seen("impressions")) == expected
    assert {each.state for each in world.progress().files.values()} == {"routed"}


def test_each_row_is_there_once_after_kills_at_random_moments(kafka: KafkaBroker, tmp_path: Path) -> None:
    seed = int(os.environ.get("AD_LAKEHOUSE_TEST_SEED", random.randrange(10_000)))
    chance = random.Random(seed)
    world = World(kafka.bootstrap, tmp_path / "drop", "impressions")
    expected = filled(world)
    for _ in range(4):
        process = router(world, SLOWLY)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.communicate(timeout=60)
    world.route()
    assert places(world.seen("impressions")) == expected, f"seed {seed}"


def test_a_broker_that_dies_is_waited_for(tmp_path: Path) -> None:
    with KafkaBroker() as broker:
        world = World(broker.bootstrap, tmp_path / "drop", "impressions")
        expected = filled(world)
        process = router(world, SLOWLY)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(random.uniform(0.05, 0.2))
        broker.kill()
        broker.start()
        process.communicate(timeout=120)  # it may also have ended with an error
        world.route()
        assert places(world.seen("impressions")) == expected


def test_the_service_waits_for_a_broker_that_begins_no_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "CALL_SECONDS", 1.0)
    copies = "transaction.state.log.replication.factor"
    with KafkaBroker(config={copies: 2}) as broker:  # of which one is there
        world = World(broker.bootstrap, tmp_path / "drop", "impressions")
        expected = filled(world)
        stop, waited = threading.Event(), Queue[str]()

        service = threading.Thread(
            target=follow,
            args=(lambda: Router(world.sources, world.folder, world.settings()), stop),
            kwargs={
                "settle_seconds": 0.0,
                "poll_seconds": 0.1,
                "begins": lambda: None,
                "progress": lambda _: None,
                "waits": lambda error, _: waited.put(str(error)),
            },
        )
        service.start()
        try:
            assert all("does not begin a transaction" in waited.get(timeout=60) for _ in range(2))
            broker.kill()
            properties = broker.folder / "server.properties"
            properties.write_text(properties.read_text().replace(f"{copies}=2", f"{copies}=1"))
            broker.start()
            wait_until(lambda: places(world.seen("impressions")) == expected, 60)
            (world.folder / "more.jsonl").write_bytes(impression(7) + b"\n")
            wait_until(lambda: len(world.seen("impressions")) == expected.total() + 1, 60)
        finally:
            stop.set()
            service.join(60)
        assert not service.is_alive()


def test_a_zombie_is_fenced_and_sends_nothing_more(kafka: KafkaBroker, tmp_path: Path) -> None:
    """One that was frozen amid a transaction while another took its place."""
    world = World(kafka.bootstrap, tmp_path / "drop", "impressions")
    expected = filled(world)
    frozen = router(world, BEFORE_THE_COMMIT.replace("die()", FREEZE), 3)
    try:
        wait_until(lambda: Path(f"/proc/{frozen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        assert places(world.seen("impressions")).total() == 2 * ROWS
        world.route()
        assert places(world.seen("impressions")) == expected
    finally:
        frozen.send_signal(signal.SIGCONT)
    _, told = frozen.communicate(timeout=60)
    assert b"RouterFenced" in told
    assert places(world.seen("impressions")) == expected


def test_a_router_that_another_fenced_says_so(kafka: KafkaBroker, tmp_path: Path) -> None:
    world = World(kafka.bootstrap, tmp_path / "drop", "impressions")
    first, second = (Router(world.sources, world.folder, world.settings()) for _ in range(2))
    with first, second:
        expected = filled(world)
        with pytest.raises(RouterFenced, match="another one with the same progress topic"):
            first.route()
        second.route()
    assert places(world.seen("impressions")) == expected
