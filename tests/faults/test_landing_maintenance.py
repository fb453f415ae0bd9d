"""A table that is vacuumed, restored or compacted while it is landed: each record is there once, and can be read.

Belongs here: maintenance beside landing. Not here: a table that is replaced (tests/integration), the ledger's rules.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError
from landing_oracle import check, wait_and_check
from landing_service import Worker, ended, shares, wait_landed
from landing_topics import (
    IMPRESSIONS,
    committed_records,
    filled_topic,
    impression,
    impressions_from,
    landed_records,
    load,
    publish,
    settings_for,
    wait_until,
)

from ad_lakehouse.lake import Lake
from ad_lakehouse.quality.ledger import write_ledger
from kafka_sinks.commit import BronzeTable
from kafka_sinks.sink import land_topic
from kafka_sinks.table_changed import TableRestored

pytestmark = pytest.mark.kafka
RECORDS = 60
EIGHT_DAYS = 8 * 86_400


@pytest.fixture
def topic(kafka) -> str:
    return filled_topic(kafka.bootstrap, RECORDS)


@pytest.fixture
def between_data_and_commit(monkeypatch) -> Callable[[Callable[[Path], Any]], list[Any]]:
    """Calls back with each data file of the second batch when it is written, and gives what was answered."""

    def put(call: Callable[[Path], Any]) -> list[Any]:
        write, calls, answers = BronzeTable._write, [], []

        def written(table: BronzeTable, rows: Any) -> Any:
            files = write(table, rows)
            calls.append(None)
            if len(calls) == 2:
                answers.extend(call(Path(table._lake.uri(table.name), each.path)) for each in files)
            return files

        monkeypatch.setattr(BronzeTable, "_write", written)
        return answers

    return put


def vacuum(lake: Lake, **how: Any) -> int:
    """Files deleted by a full vacuum: of those that no commit names, too."""
    return len(lake.open(IMPRESSIONS).vacuum(dry_run=False, full=True, **how))


@pytest.mark.parametrize("late", [False, True], ids=["with no retention", "8 days after they were written"])
def test_data_files_that_a_vacuum_deleted_before_their_commit_are_written_again(
    kafka, lake: Lake, topic: str, between_data_and_commit, late: bool
) -> None:
    def clean(file: Path) -> int:
        if not late:
            return vacuum(lake, retention_hours=0, enforce_retention_duration=False)
        os.utime(file, (time.time() - EIGHT_DAYS,) * 2)  # as of a process that was frozen so long
        return vacuum(lake)

    deleted = between_data_and_commit(clean)
    report = land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20))
    assert sum(deleted) == 2, "the files of the batch's day and of its rejected rows"
    assert report.records == RECORDS
    check(lake, kafka.bootstrap, topic)


def test_a_vacuum_with_its_usual_retention_touches_no_batch_under_way(
    kafka, lake: Lake, topic: str, between_data_and_commit
) -> None:
    deleted = between_data_and_commit(lambda _: vacuum(lake))
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20))
    assert deleted == [0, 0]
    check(lake, kafka.bootstrap, topic)


def test_rows_that_a_restore_took_away_stop_the_landing_until_another_brings_them_back(
    kafka, lake: Lake, topic: str
) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20)
    land_topic(lake, source, settings)
    newest = lake.open(IMPRESSIONS).version()
    for version in (newest - 1, newest - 1, newest + 1):  # the last goes back to a version that was restored, too
        lake.open(IMPRESSIONS).restore(version)
        with pytest.raises(TableRestored, match=rf"by its version \d.*behind version {newest - 1} up to.*{newest} is"):
            land_topic(lake, source, settings)
        assert landed_records(lake, topic).total() == RECORDS - 20
    assert {row.subject for row in write_ledger(lake).unbalanced} <= {f"{topic}[0]", f"{topic}[1]"}
    assert write_ledger(lake).unbalanced
    lake.open(IMPRESSIONS).restore(newest)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10
    assert not write_ledger(lake).unbalanced
    check(lake, kafka.bootstrap, topic)


def test_a_restore_that_took_away_no_rows_stops_nothing(kafka, lake: Lake, topic: str) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20)
    land_topic(lake, source, settings)
    landed = lake.open(IMPRESSIONS).version()
    assert compact(lake)
    lake.open(IMPRESSIONS).restore(landed)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10
    check(lake, kafka.bootstrap, topic)


def test_a_restore_that_is_accepted_loses_what_it_took_away_and_nothing_behind_it(
    kafka, lake: Lake, topic: str
) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20)
    land_topic(lake, source, settings)
    lake.open(IMPRESSIONS).restore(lake.open(IMPRESSIONS).version() - 1)
    kept = landed_records(lake, topic)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings, accept_loss=True).records == 10
    assert landed_records(lake, topic) - kept == committed_records(kafka.bootstrap, topic) - before(RECORDS)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10, "it is accepted once and for all"
    assert write_ledger(lake).unbalanced, "the ledger goes on telling"


def test_what_was_accepted_as_lost_may_still_be_brought_back(kafka, lake: Lake, topic: str) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20)
    land_topic(lake, source, settings)
    newest = lake.open(IMPRESSIONS).version()
    lake.open(IMPRESSIONS).restore(newest - 1)
    assert land_topic(lake, source, settings, accept_loss=True).records == 0
    lake.open(IMPRESSIONS).restore(newest)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10
    check(lake, kafka.bootstrap, topic)


def before(records: int) -> Counter[tuple[int, int]]:
    """(partition, offset) of the first records of a topic of two partitions."""
    return Counter((number % 2, number // 2) for number in range(records))


def restore(lake: Lake, back: int) -> int:
    """Restores the table by some versions while it is landed on; gives the version it had."""
    while True:
        table = lake.open(IMPRESSIONS)
        try:
            table.restore(table.version() - back)
        except CommitFailedError:
            continue
        return int(table.version()) - 1


def test_a_restore_beside_the_service_stops_it_and_once_undone_each_record_is_there_once(
    kafka, lake: Lake, topic: str, tmp_path: Path
) -> None:
    def worker() -> Worker:
        return Worker(lake, kafka.bootstrap, topic, topic, tmp_path, AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS="50")

    first, second = worker(), worker()
    with ended(first, second), load(kafka.bootstrap, topic):
        wait_until(lambda: shares([first, second], 2), 60)
        wait_landed(lake, topic, RECORDS + 200)
        was = restore(lake, 3)
        third = worker()
        with ended(third):
            for each in (first, second, third):
                assert each.process.wait(60) == TableRestored.exit_code, each.log.read_text()
                told = each.log.read_text()
                assert f"bronze.impressions was restored by its version {was + 1}" in told
                assert f"restore to version {was} or later" in told
        assert lake.open(IMPRESSIONS).version() == was + 1, "nothing was committed behind it"
        lake.open(IMPRESSIONS).restore(was)
        last = worker()
        with ended(last):
            wait_until(lambda: shares([last], 2), 60)
            wait_landed(lake, topic, RECORDS + 600)
            assert last.end() == 0, last.log.read_text()
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    check(lake, kafka.bootstrap, topic)


def compact(lake: Lake) -> int:
    """Files that went into fewer ones; 0 when another commit was first."""
    try:
        return int(lake.open(IMPRESSIONS).optimize.compact()["numFilesRemoved"])
    except CommitFailedError:
        return 0


def test_compaction_and_landing_hold_up_neither_each_other_nor_lose_a_record(
    kafka, lake: Lake, topic: str, tmp_path: Path
) -> None:
    worker = Worker(lake, kafka.bootstrap, topic, topic, tmp_path, AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS="50")
    with ended(worker):
        with load(kafka.bootstrap, topic):
            wait_landed(lake, topic, RECORDS + 200)
            for _ in range(6):
                wait_until(lambda: compact(lake) > 0, 60)  # there is something new to compact: the landing goes on
        wait_and_check(lake, kafka.bootstrap, topic)
        assert worker.end() == 0, worker.log.read_text()
    done = "".join(each["operation"][0] for each in lake.open(IMPRESSIONS).history())
    assert done.count("O") >= 6, done
    assert done.strip("W").count("W") > 6, "while it was compacted the table was landed on"
