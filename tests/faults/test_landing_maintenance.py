"""A table that is vacuumed, restored or compacted while it is landed: each record is there once, and can be read.

Belongs here: maintenance beside landing. Not here: a table that is replaced (tests/integration), the ledger's rules.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError
from landing_oracle import check, wait_and_check
from landing_service import Worker, ended, wait_landed
from landing_topics import (
    IMPRESSIONS,
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


def test_rows_that_a_restore_took_away_are_told_by_the_ledger_and_come_back_with_another(
    kafka, lake: Lake, topic: str
) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=20)
    land_topic(lake, source, settings)
    newest = lake.open(IMPRESSIONS).version()
    lake.open(IMPRESSIONS).restore(newest - 1)
    assert land_topic(lake, source, settings).records == 0, "a restore does not move positions"
    assert landed_records(lake, topic).total() == RECORDS - 20
    assert {row.subject for row in write_ledger(lake).unbalanced} <= {f"{topic}[0]", f"{topic}[1]"}
    assert write_ledger(lake).unbalanced
    lake.open(IMPRESSIONS).restore(newest)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10
    assert not write_ledger(lake).unbalanced
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
