"""kill -9 of a landing process at chosen and at random moments: no record is lost, none is there twice.

Belongs here: a sink in a process of its own that dies. Not here: landing that is not interrupted.

The process that dies runs a script of this test: it puts a kill where the promise is in danger, around real calls.
Nothing in the product knows of it.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from landing_topics import (
    IMPRESSIONS,
    committed_records,
    delivered,
    impression,
    impressions_from,
    landed_records,
    new_topic,
    notes,
    publish,
    settings_for,
)

from ad_lakehouse.lake import Lake
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka

SINK = """
import os, signal, sys
import kafka_sinks.commit, kafka_sinks.consume
from ad_lakehouse.lake import Lake
from kafka_sinks.commit import BronzeTable
from landing_topics import impressions_from, settings_for
from kafka_sinks.sink import land_topic

root, bootstrap, topic, rows = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{fault}

land_topic(Lake(root), impressions_from(topic), settings_for(bootstrap, max_batch_rows=int(rows)))
"""
# Before the third commit: its data are on disk, the log knows nothing of them.
BETWEEN_DATA_AND_COMMIT = """
commit, calls = BronzeTable._commit, []
def last(*how):
    calls.append(None)
    if len(calls) == 3:
        die()
    commit(*how)
BronzeTable._commit = last
"""
WHILE_DATA_ARE_WRITTEN = """
write, calls = kafka_sinks.commit.write_files, []
def halfway(store, rows, **how):
    calls.append(None)
    if len(calls) == 3:
        write(store, rows.slice(0, len(rows) // 2), **how)
        die()
    return write(store, rows, **how)
kafka_sinks.commit.write_files = halfway
"""
AFTER_THE_COMMIT = """
commit, calls = BronzeTable._commit, []
def last(*how):
    commit(*how)
    calls.append(None)
    if len(calls) == 3:
        die()
BronzeTable._commit = last
"""
BEFORE_KAFKA_IS_TOLD = """
kafka_sinks.consume.TopicConsumer.show_position = lambda *_: die()
"""
DISK_IS_FULL = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
commit, calls = BronzeTable._commit, []
def last(*how):
    commit(*how)
    calls.append(None)
    if len(calls) == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))  # less than a data file of 20 rows
BronzeTable._commit = last
"""
NOTHING = ""
RECORDS = 200  # ten batches of 20: enough to die three times after two of them


def sink(lake: Lake, bootstrap: str, topic: str, fault: str, rows: int = 20) -> subprocess.Popen[bytes]:
    """A landing process with a fault in it."""
    script = textwrap.dedent(SINK).replace("{fault}", fault)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", script, lake.root, bootstrap, topic, str(rows)],
        env=os.environ | {"PYTHONPATH": paths},
        stderr=subprocess.PIPE,
    )


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Waits for its end; whether it was a kill -9."""
    _, told = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), told.decode()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("fault", "commits"),
    [
        pytest.param(BETWEEN_DATA_AND_COMMIT, 2, id="between data and commit"),
        pytest.param(WHILE_DATA_ARE_WRITTEN, 2, id="while data are written"),
        pytest.param(AFTER_THE_COMMIT, 3, id="after a commit"),
        pytest.param(BEFORE_KAFKA_IS_TOLD, RECORDS // 20, id="between commit and Kafka's offset commit"),
    ],
)
def test_rows_survive_a_kill(kafka, lake: Lake, fault: str, commits: int) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) if i % 9 else b"{bad" for i in range(RECORDS)])
    for number in range(1, 4 if fault is BETWEEN_DATA_AND_COMMIT else 2):
        assert killed(sink(lake, kafka.bootstrap, topic, fault)), f"kill {number} did not happen"
        there = [note for note in notes(lake) if note.get("delivered")]
        if number == 1:
            assert len(there) == commits
            assert delivered(there) == 20 * commits
        if fault is BETWEEN_DATA_AND_COMMIT:
            assert orphans(lake), "no data were written before the kill"
    assert not killed(sink(lake, kafka.bootstrap, topic, NOTHING))
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == RECORDS


def test_a_full_disk_is_told_and_loses_nothing(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(RECORDS)])
    process = sink(lake, kafka.bootstrap, topic, DISK_IS_FULL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"WriteFailed: bronze.impressions could not be read or written" in told
    assert delivered(notes(lake)) == 60
    assert not killed(sink(lake, kafka.bootstrap, topic, NOTHING))
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)


def test_rows_survive_kills_at_random_moments(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(3_000)])
    kills = 0
    for attempt in range(6):
        process = sink(lake, kafka.bootstrap, topic, NOTHING, rows=25)
        before = committed(lake)
        deadline = time.monotonic() + 60
        while committed(lake) < before + 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001 * (attempt + 1))
        process.kill()
        kills += killed(process)
        assert landed_records(lake, topic).total() == delivered(notes(lake))
        assert max(landed_records(lake, topic).values()) == 1
    assert kills >= 3
    report = land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    assert report.lag == {0: 0, 1: 0}
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)


def committed(lake: Lake) -> int:
    """Commits in the log now."""
    return len(list(Path(lake.uri(IMPRESSIONS)).glob("_delta_log/*.json")))


def orphans(lake: Lake) -> set[str]:
    """Data files on disk that no commit names."""
    folder = Path(lake.uri(IMPRESSIONS))
    there = {path.name for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}
    return there - {Path(uri).name for uri in lake.open(IMPRESSIONS).file_uris()}
