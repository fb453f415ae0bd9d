"""What the soak does to a lake and a broker that are well: maintenance, landings beside the service, a partition more.

Belongs here: what we do ourselves. Not here: what happens to workers, network and disk (soak_faults.py).
"""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from command_line import cli
from confluent_kafka.admin import NewPartitions
from landing_kills import file_landing
from landing_topics import IMPRESSIONS
from soak_stage import MOST_PARTITIONS, Fault, Stage

from ad_lakehouse.maintenance import maintain
from ad_lakehouse.settings import MaintenanceSettings


@contextmanager
def compacted(stage: Stage) -> Iterator[None]:
    cared = maintain(stage.lake, MaintenanceSettings(min_files=2), remove=False)
    failed = [f"{each.name}: {each.remark}" for each in cared if each.failed]
    assert not failed, failed
    if fewer := sum(each.compacted.fewer for each in cared):
        stage.happened("compaction", f"{fewer} files fewer")
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
    command = file_landing(stage.lake, stage.drop, commits)
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


ACTS: Mapping[str, Fault] = {
    "compaction": compacted,
    "maintenance": maintained,
    "landing beside": landed_beside,
    "file landing killed": file_landing_killed,
    "partition added": partition_added,
}
