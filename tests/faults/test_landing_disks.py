"""A disk that is full, or that may not be written to any more: landing says so, waits, and goes on.

Belongs here: real file systems, mounted for a test. Not here: stores that answer with errors (tests/integration).
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from landing_disks import mount
from landing_oracle import check, wait_and_check
from landing_service import followed, health, service, wait_landed
from landing_topics import (
    IMPRESSIONS,
    impression,
    impressions_from,
    landed_records,
    new_topic,
    publish,
    rows,
    settings_for,
    wait_until,
)

from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake
from ad_lakehouse.landing import land_all
from ad_lakehouse.settings import Settings
from kafka_sinks.commit import BronzeTable, Commit, Delivery, WriteFailed
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import bronze_schema, load_sources

pytestmark = pytest.mark.kafka
RECORDS = 60


@pytest.fixture
def disk(unavailable: Callable[[str], None]) -> Iterator[Callable[[Path], Path]]:
    """Mounts a disk of 1 MiB on a folder, which keeps its content."""
    mounted: list[Path] = []

    def on(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        done = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
        if done.returncode:
            unavailable(f"a disk can be mounted by root only: {done.stderr.strip()}")
        mounted.append(folder)
        for name, content in before.items():
            (folder / name).write_bytes(content)
        return folder

    yield on
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A disk without room for as much as a page."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while os.statvfs(folder).f_bfree:
            file.write(b"x" * 4096)
    yield
    filler.unlink()


def record(number: int) -> bytes:
    return impression(number) if number % 9 else b"{bad"


def bad(number: int) -> bytes:
    return b"{bad %d" % number


def told(port: int, problem: str) -> bool:
    status, state = health(port)
    return status == 503 and problem in str(state["sources"]["impressions"])


@pytest.mark.parametrize("make", [record, bad], ids=["rows of all kinds", "rejected rows only"])
@pytest.mark.parametrize("what", ["data files", "log"])
def test_a_full_disk_is_waited_for(
    kafka, tmp_path: Path, disk: Callable[[Path], Path], what: str, make: Callable[[int], bytes]
) -> None:
    lake, topic = Lake(str(tmp_path / "lake")), new_topic(kafka.bootstrap)
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap)
    table = Path(lake.uri(IMPRESSIONS))
    publish(kafka.bootstrap, topic, map(make, range(RECORDS)))
    if what == "log":  # only the log is on the small disk: the data files of a batch fit, its entry does not
        land_topic(lake, source, settings)
        place = disk(table / "_delta_log")
    else:
        place = disk(table)
        land_topic(lake, source, settings)
    publish(kafka.bootstrap, topic, map(make, range(RECORDS)))
    with full(place):
        data = set(table.rglob("*.parquet"))
        with pytest.raises(WriteFailed, match="No space left on device"):
            land_topic(lake, source, settings)
        assert bool(set(table.rglob("*.parquet")) - data) == (what == "log")
        assert landed_records(lake, topic).total() == RECORDS, "what was landed before is still read"
        with service(lake, followed(kafka.bootstrap), source) as running:
            wait_until(lambda: told(running.port, "No space left on device"))
            (place / "filler").write_bytes(b"")  # room is made
            wait_and_check(lake, kafka.bootstrap, topic)
            wait_until(lambda: health(running.port)[0] == 200)
    assert not [path for path in table.rglob("*") if "#" in path.name or path.name.endswith(".tmp")], "half a file"


@pytest.mark.parametrize("create_first", [False, True], ids=["by a file of it", "before anything is landed"])
def test_a_full_disk_is_told_also_where_a_table_is_to_be_made(
    tmp_path: Path, disk: Callable[[Path], Path], create_first: bool
) -> None:
    place, drop = disk(tmp_path / "lake"), tmp_path / "drop"
    drop.mkdir()
    (drop / "a.jsonl").write_bytes(b"\n".join(map(record, range(RECORDS))))
    lake = Lake(str(place))

    def land() -> None:
        if create_first:
            land_all(lake, Settings(), folder=str(drop), topics=False, settle_seconds=0)
        else:
            land_files(lake, load_sources(), drop, Settings())

    with full(place), pytest.raises(WriteFailed, match="No space left on device"):
        land()
    land()
    assert rows(lake, "_row") == [(row,) for row in range(RECORDS)]


def test_a_disk_that_turns_read_only_is_waited_for(kafka, tmp_path: Path, disk: Callable[[Path], Path]) -> None:
    place = disk(tmp_path / "lake")
    lake, topic = Lake(str(place)), new_topic(kafka.bootstrap)

    def turned(mode: str) -> bool:
        return not mount("-o", f"remount,{mode}", str(place)).returncode  # refused while a file is being written

    publish(kafka.bootstrap, topic, map(record, range(RECORDS)))
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        wait_landed(lake, topic, RECORDS)
        wait_until(lambda: turned("ro"))
        publish(kafka.bootstrap, topic, map(record, range(RECORDS)))
        wait_until(lambda: told(running.port, "Read-only file system"))
        assert landed_records(lake, topic).total() == RECORDS
        wait_until(lambda: turned("rw"))
        wait_and_check(lake, kafka.bootstrap, topic)
        wait_until(lambda: health(running.port)[0] == 200)
    check(lake, kafka.bootstrap, topic)


def test_the_data_files_of_a_batch_are_written_once_however_often_its_commit_fails(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load_sources()["impressions"]
    table = BronzeTable(lake, IMPRESSIONS, bronze_schema(source))
    batch = Commit(pa.Table.from_pylist([{"_offset": 0}], bronze_schema(source)), [Delivery("sink:c:t:0", 0, 1, {})])
    commit, tried = BronzeTable._commit, []

    def refused(*how: Any) -> None:
        tried.append(None)
        if len(tried) < 4:
            raise OSError("No space left on device")
        commit(*how)

    monkeypatch.setattr(BronzeTable, "_commit", refused)
    for _ in range(3):
        with pytest.raises(WriteFailed):
            table.land("b", lambda _: batch)
    table.land("b", lambda _: batch)
    assert len(tried) == 4
    assert len(list(Path(lake.uri(IMPRESSIONS)).rglob("*.parquet"))) == 1
