"""The landing service under load while everything fails at random, then quiet: each record is there once.

Belongs here: the order of a soak, what must hold at its end. Not here: load (soak_load.py, soak_files.py), workers
(soak_crew.py), single faults (soak_faults.py, soak_acts.py).

`make soak` runs it: MINUTES=2 for a try, SEED=… for the same faults once more. The seed repeats which faults come in
which order, and on which worker; it does not repeat their moments, nor what the processes do then.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from landing_disks import Disk
from landing_network import broker_behind_proxy
from landing_oracle import check_rows
from landing_service import Worker, health
from landing_topics import IMPRESSIONS, new_topic, rows, settings_for, wait_until, witnessed
from soak_acts import ACTS
from soak_crew import Crew
from soak_faults import AROUND_THEM, TO_WORKERS
from soak_files import MIXED, FileLoad
from soak_load import TopicLoad
from soak_stage import Stage

from ad_lakehouse.lake import Lake
from ad_lakehouse.quality.ledger import write_ledger
from kafka_sinks.cluster import Cluster

MINUTES = float(os.environ.get("SOAK_MINUTES") or 30)
FILES_FROM = 2  # from so many minutes on some file was cut when it was landed
ALL_KINDS_FROM, FEWEST_KINDS = 10, 5  # from so many minutes on each kind must have happened; else so many kinds
MEMORY = 512 << 20  # bytes a worker may take: the least that may be set
DISK = 16 << 30
DRAIN_SECONDS, TELL_SECONDS = 600, 30
TWO_AT_ONCE = 0.4  # of the faults
FAULTS = {**ACTS, **TO_WORKERS, **AROUND_THEM}
pytestmark = [pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + 3 * DRAIN_SECONDS)]


def say(what: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S}  {what}\n")
    sys.stdout.flush()


class Soak:
    """Faults in turn, with looks at workers and load. `done` counts those that happened."""

    def __init__(self, stage: Stage, topics: TopicLoad, files: FileLoad) -> None:
        self.stage, self.topics, self.files = stage, topics, files
        self.done: Counter[str] = Counter()
        self.kinds = [name for name in FAULTS if not (stage.disk.refusal and name.startswith("disk"))]
        self._deck: list[str] = []
        stage.happened, stage.burst = self._happened, topics.burst

    def _happened(self, name: str, how: str) -> None:
        self.done[name] += 1
        say(f"{name}: {how}")

    def look(self) -> None:
        """Workers live, load goes on."""
        self.stage.crew.look()
        for error in (*self.topics.errors, *self.files.errors):
            raise AssertionError("the load ended") from error

    def run(self, seconds: float) -> None:
        """One fault after another, some of them two at once."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._strike(self._drawn())
            self.look()
            time.sleep(self.stage.chance.uniform(1, 4))

    def _drawn(self) -> list[str]:
        """The next fault of a deck that holds each once; perhaps with another one of the other kind."""
        chance = self.stage.chance
        if not self._deck:
            self._deck = chance.sample(self.kinds, len(self.kinds))
        names = [self._deck.pop()]
        others = [each for each in self.kinds if each in (AROUND_THEM if names[0] in TO_WORKERS else TO_WORKERS)]
        if names[0] in {**TO_WORKERS, **AROUND_THEM} and chance.random() < TWO_AT_ONCE:
            names.append(chance.choice(others))
        return chance.sample(names, len(names))

    def _strike(self, names: list[str]) -> None:
        before, entered = self.done.copy(), dict[str, AbstractContextManager[None]]()
        say(f"… {' and '.join(names)}")
        try:
            for name in names:
                fault = FAULTS[name](self.stage)
                fault.__enter__()
                entered[name] = fault
            time.sleep(self.stage.chance.uniform(2, 10))
        finally:
            with ExitStack() as healed:  # what is around the workers first: new ones need it
                for name in sorted(entered, key=AROUND_THEM.__contains__):
                    healed.callback(entered[name].__exit__, None, None, None)
        for name in names:
            if self.done[name] == before[name] and name != "partition added":
                say(f"{name}: without effect; comes again")
                self._deck.insert(0, name)

    def landed(self) -> int:
        tables = [self.stage.lake.open_if_exists(name) for name in (IMPRESSIONS, *MIXED)]
        return sum(table.count() for table in tables if table is not None)

    @contextmanager
    def told(self) -> Iterator[None]:
        """A line every while."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(TELL_SECONDS):
                say(str(self))

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def __str__(self) -> str:
        crew = self.stage.crew
        crew.measure()
        counts = crew.counts()
        published, landed = self.topics.acknowledged + self.files.rows, self.landed()
        return (
            f"    {published:,} published, {landed:,} landed, {max(0, published - landed):,} behind; "
            f"{counts['commits_total']:,} commits, {counts['conflicts_total']:,} conflicts; "
            f"{self.done.total()} faults; {len(crew.members)} workers, at most {crew.peak >> 20} MiB"
        )


@contextmanager
def noted(told: str) -> Iterator[None]:
    """Any failure bears the seed."""
    try:
        yield
    except BaseException as error:
        error.add_note(told)
        raise


def drain(soak: Soak, bootstrap: str, topic: str) -> int:
    """Waits until all is landed that a consumer sees; gives how much that is."""
    cluster = Cluster(settings_for(bootstrap).kafka)
    ends = cluster.topic(topic)
    wait_until(lambda: all(each.stable == each.high for each in cluster.watermarks(ends).values()), 120)
    sent = witnessed(bootstrap, topic, soak.stage.partitions).places.total()
    deadline = time.monotonic() + DRAIN_SECONDS
    while (landed := rows(soak.stage.lake, "count(*)", where=f"_topic = '{topic}'")[0][0]) < sent:
        soak.look()
        assert time.monotonic() < deadline, f"{landed} of {sent} records are landed {DRAIN_SECONDS} s after the load"
        time.sleep(1)
    return sent


def test_each_record_is_there_once_after_all_faults_at_random(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(1_000_000))
    say(f"{MINUTES:g} minutes, SEED={seed}")
    with (
        noted(f"SEED={seed}"),
        Disk(tmp_path / "lake", DISK) as disk,
        broker_behind_proxy() as net,
    ):
        if disk.refusal:
            say(f"No disk can be mounted, so none becomes full or read-only: {disk.refusal}")
        lake, topic = Lake(str(disk.folder)), new_topic(net.bootstrap, partitions=4)

        def worker(proxied: bool) -> Worker:
            return Worker(
                lake, net.proxied if proxied else net.bootstrap, topic, topic, tmp_path,
                AD_LAKEHOUSE_LANDING__MEMORY_BYTES=str(MEMORY), AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS="200",
            )  # fmt: skip

        crew = Crew(worker)
        stage = Stage(net, disk, lake, topic, crew, random.Random(seed), tmp_path, tmp_path / "drop")
        with crew:
            for proxied in (True, False, True):
                crew.hire(proxied)
            topics, files = TopicLoad(net.bootstrap, topic, seed), FileLoad(lake, stage.drop, seed)
            soak = Soak(stage, topics, files)
            with soak.told():
                with topics, files:
                    soak.run(MINUTES * 60)
                say("No more faults, no more load")
                soak.look()
                sent = drain(soak, net.bootstrap, topic)
            say(str(soak))
            wait_until(lambda: all(health(each.port)[0] == 200 for each in crew.members), 60)
            codes = [crew.dismiss(each, signal.SIGTERM) for each in list(crew.members)]
        files.finish()
        assert not any(codes), f"exit codes {codes}"
        assert check_rows(lake, net.bootstrap, topic, stage.partitions).places.total() == sent
        assert sent >= topics.acknowledged, "the broker took more than it shows"
        files.check()
        ledger = write_ledger(lake)
        assert not ledger.unbalanced, [str(row) for row in ledger.unbalanced]
        assert sum(row.delivered for row in ledger.rows if row.kind == "topic_partition") == sent
    for line in summary(soak, sent):
        say(line)
    assert crew.peak < MEMORY, f"a worker took {crew.peak >> 20} MiB, SEED={seed}"
    assert topics.aborted > 0, "no transaction was aborted"
    assert files.did["broken"] > 0 or MINUTES < FILES_FROM, f"no cut file was met: {files.did}"
    missing = [name for name in soak.kinds if not soak.done[name]]
    if MINUTES >= ALL_KINDS_FROM:
        assert not missing, f"these did not happen: {missing}, SEED={seed}"
    assert len(soak.kinds) - len(missing) >= FEWEST_KINDS, f"these did not happen: {missing}, SEED={seed}"


def summary(soak: Soak, sent: int) -> Iterator[str]:
    """What happened, line by line."""
    crew, topics, files = soak.stage.crew, soak.topics, soak.files
    counts = crew.counts()
    yield f"{sent:,} records of {soak.stage.partitions} partitions and {files.rows:,} rows of files, each there once"
    yield f"transactions: {topics.transactions} committed, {topics.aborted} aborted, {topics.broken} lost with a broker"
    yield "files: " + ", ".join(f"{count} {name}" for name, count in sorted(files.did.items()))
    yield f"workers: {crew.hired}; {counts['commits_total']:,} commits, {counts['conflicts_total']:,} conflicts"
    yield f"memory: {crew.peak >> 20} MiB at most, {crew.elders_peak >> 20} MiB of the worker that stayed all the time"
    for name in soak.kinds:
        yield f"{soak.done[name]:6}  {name}"
