"""Landing runs in processes of their own, with a fault in them, in the world of before or a changed one.

Belongs here: the processes, where they die. Not here: topics and tables (landing_topics.py), the service
(landing_service.py), assertions on what is landed.

The process runs a script of the tests: it puts a kill where the promise is in danger, around real calls. Nothing in the
product knows of it.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ad_lakehouse.lake import Lake
from kafka_sinks.sources import load_sources

SINK = """
import os, signal, sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
import kafka_sinks.commit, kafka_sinks.consume, kafka_sinks.sink, kafka_sinks.topic_run
from ad_lakehouse.lake import Lake, data_files
from kafka_sinks.commit import BronzeTable
from kafka_sinks.decode import json_plain
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import load_sources
from kafka_sinks.topic_run import utc_now
from landing_topics import settings_for

root, bootstrap, topic, rows, days, sources, plain = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{fault}

if not int(plain):
    json_plain._worth_trying = lambda *_: False
land_topic(
    Lake(root),
    replace(load_sources(Path(sources) if sources else None)["impressions"], topic=topic),
    settings_for(bootstrap, max_batch_rows=int(rows)),
    clock=lambda: utc_now() + timedelta(days=int(days)),
)
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
# Two batches are committed, others read ahead.
WITH_RECORDS_IN_HAND = """
poll, log = kafka_sinks.consume.TopicConsumer.poll, Path(root) / "bronze/impressions/_delta_log"
def in_hand(*how):
    records, ends = poll(*how)
    if records and len(list(log.glob("*.json"))) > 2:
        die()
    return records, ends
kafka_sinks.consume.TopicConsumer.poll = in_hand
"""
AFTER_DECODING = """
decode, calls = kafka_sinks.topic_run.decode_with_headers, []
def decoded(*how, **more):
    rows = decode(*how, **more)
    calls.append(None)
    if len(calls) == 3:
        die()
    return rows
kafka_sinks.topic_run.decode_with_headers = decoded
"""
# Of the third batch only the rejected rows are on disk.
WHILE_REJECTED_ROWS_ARE_WRITTEN = """
write, calls = data_files._write, []
def of_the_day(store, day, *how):
    action = write(store, day, *how)
    calls.extend([day] if day is None else [])
    if len(calls) == 3:
        die()
    return action
data_files._write = of_the_day
"""
AFTER_A_COLUMN_WAS_ADDED = """
evolve = BronzeTable._evolve
def evolved(table):
    before = table.version
    evolve(table)
    if table.version > before:
        die()
BronzeTable._evolve = evolved
"""
AS_IT_GOES_ON = """
kafka_sinks.sink.plan_ranges = lambda *_, **__: die()
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


@dataclass(frozen=True)
class World:
    """What may be another in the next run. `days`: its clock is ahead; `plain`: the fast reader of JSON is there."""

    rows: int = 20
    days: int = 0
    sources: Path | None = None
    plain: bool = True


def sink(lake: Lake, bootstrap: str, topic: str, fault: str, world: World = World()) -> subprocess.Popen[bytes]:
    """A landing process with a fault in it."""
    how = [str(world.rows), str(world.days), str(world.sources or ""), str(int(world.plain))]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", SINK.replace("{fault}", fault), lake.root, bootstrap, topic, *how],
        env=os.environ | {"PYTHONPATH": paths},
        stderr=subprocess.PIPE,
    )


def file_landing(lake: Lake, folder: Path, commits: int) -> list[str]:
    """The command of a process that lands the folder, again and again, and dies right after so many commits."""
    return [sys.executable, "-c", FILE_LANDING, lake.root, str(folder), str(commits)]


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Waits for its end; whether it was a kill -9."""
    _, told = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), told.decode()
    return process.returncode == -signal.SIGKILL


def sources_with_a_field(folder: Path, name: str) -> Path:
    """A user's own folder of sources: impressions have one more optional field."""
    schema = dict(load_sources()["impressions"].schema)
    schema["fields"] = [*schema["fields"], {"name": name, "type": ["null", "string"], "default": None, "doc": "New."}]
    folder.mkdir()
    (folder / "impressions.avsc").write_text(json.dumps(schema))
    (folder / "impressions.yml").write_text("schema: impressions.avsc\n")
    return folder
