"""Workers with an older and a newer schema of one source on one table, as while a new version is rolled out.

Belongs here: columns that are added while others land. Not here: one worker (test_schema_evolution.py).
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError
from deltalake.table import TableAlterer
from landing_service import followed, service, wait_landed
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
    rows,
    settings_for,
    wait_until,
)

from ad_lakehouse.lake import Lake
from kafka_sinks import commit
from kafka_sinks.commit import BronzeTable
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import Source, bronze_schema

pytestmark = pytest.mark.kafka
SLOT = {"name": "slot", "type": ["null", "int"], "default": None}


def newer(source: Source, *fields: dict[str, Any]) -> Source:
    """The source with added fields."""
    return replace(source, schema={**source.schema, "fields": [*source.schema["fields"], *fields]})


def columns(lake: Lake) -> list[str]:
    return [each.name for each in lake.open(IMPRESSIONS).schema().fields]


def test_a_column_added_between_data_and_commit_of_another_loses_neither(
    kafka, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_topic, new_topic_ = new_topic(kafka.bootstrap), new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, old_topic, [impression(n, slot=n) for n in range(20)])
    publish(kafka.bootstrap, new_topic_, [impression(n, slot=n) for n in range(20)])
    write, held, gate = commit.write_files, threading.Event(), threading.Event()

    def late(*args: Any, **how: Any) -> Any:
        files = write(*args, **how)
        if threading.current_thread().name.startswith("old"):
            held.set()
            assert gate.wait(60)
        return files

    monkeypatch.setattr(commit, "write_files", late)
    with ThreadPoolExecutor(1, thread_name_prefix="old") as pool:
        old = pool.submit(land_topic, lake, impressions_from(old_topic), settings_for(kafka.bootstrap))
        try:
            assert held.wait(60)
            assert "slot" not in columns(lake)
            land_topic(lake, newer(impressions_from(new_topic_), SLOT), settings_for(kafka.bootstrap))
            assert "slot" in columns(lake)
        finally:
            gate.set()
        report = old.result(60)
    assert report.conflicts > 0, "the column came between data and commit"
    for topic in (old_topic, new_topic_):
        assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    found = rows(lake, "slot, json_extract(_rescued, '$.slot')::int", where=f"_topic = '{old_topic}'")
    assert found == [(None, n) for n in range(20)], "what the older schema does not know is kept beside"
    assert rows(lake, "slot, _rescued", where=f"_topic = '{new_topic_}'") == [(n, None) for n in range(20)]


def test_workers_of_two_versions_share_a_topic_and_land_each_record_once(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    settings = followed(kafka.bootstrap)
    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(n, slot=n) for n in range(40)])
    with service(lake, settings, source) as old:
        wait_landed(lake, topic, 40)
        with service(lake, settings, newer(source, SLOT)) as new:
            both = (old.health["impressions"], new.health["impressions"])
            wait_until(lambda: [len(each.partitions) for each in both] == [1, 1], 60)
            publish(kafka.bootstrap, topic, [impression(n, slot=n) for n in range(40, 80)])
            wait_landed(lake, topic, 80)
            (theirs,) = old.health["impressions"].partitions
            (ours,) = new.health["impressions"].partitions
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 80
    behind = "coalesce(slot, json_extract(_rescued, '$.slot')::int) >= 40"
    assert rows(lake, "distinct _partition, slot is null", where=behind) == sorted([(theirs, True), (ours, False)])


def test_many_that_add_columns_at_once_add_each_once_while_another_lands(
    kafka, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic(kafka.bootstrap)
    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(n, slot=n) for n in range(200)])
    BronzeTable(lake, IMPRESSIONS, bronze_schema(source))
    # Two of each, and all have one column in common
    versions = [newer(source, SLOT, {**SLOT, "name": f"slot_{number // 2}"}) for number in range(6)]
    together, waited, lost = threading.Barrier(len(versions)), threading.local(), []
    add = TableAlterer.add_columns

    def at_once(alterer: TableAlterer, fields: Any) -> None:
        if not hasattr(waited, "done"):
            waited.done = together.wait(60)
        try:
            add(alterer, fields)
        except CommitFailedError as error:
            lost.append(error)
            raise

    monkeypatch.setattr(TableAlterer, "add_columns", at_once)
    with ThreadPoolExecutor(len(versions) + 1) as pool:
        opens = [pool.submit(BronzeTable, lake, IMPRESSIONS, bronze_schema(version)) for version in versions]
        sink = pool.submit(land_topic, lake, source, settings_for(kafka.bootstrap, max_batch_rows=20))
        assert sink.result(100).records == 200
        assert all(each.result(60).version > 0 for each in opens)
    assert lost, "each was alone when it added its column"
    added = [name for name in columns(lake) if name.startswith("slot")]
    assert sorted(added) == ["slot", "slot_0", "slot_1", "slot_2"]
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert {json.loads(text)["slot"] for (text,) in rows(lake, "_rescued")} == set(range(200))
