"""The landing service on a real broker: it lands what comes, says how it fares, waits for what passes, and stops well.

Belongs here: one service. Not here: several workers, kills (tests/faults), landing once (test_landing_exactly_once.py).
"""

import io
import json
import shutil
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from landing_service import Worker, ended, followed, health, metrics, page, service, wait_landed
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

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from kafka_sinks import commit
from kafka_sinks.cluster import TopicMissing
from kafka_sinks.health_page import open_page
from kafka_sinks.memory import PROGRAM_BYTES, batch_bytes
from kafka_sinks.positions import PositionLost
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import bronze_schema, load_sources

pytestmark = pytest.mark.kafka


def test_it_lands_what_is_there_and_what_comes(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) if i % 10 else b"{bad" for i in range(100)])
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        wait_landed(lake, topic, 100)
        publish(kafka.bootstrap, topic, [impression(i) for i in range(50)])
        wait_landed(lake, topic, 150)
        wait_until(lambda: metrics(running.port).get('ad_lakehouse_sink_lag{partition="0",source="impressions"}') == 0)
        told = metrics(running.port)
        status, state = health(running.port)
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 150
    assert told['ad_lakehouse_sink_accepted_rows_total{source="impressions"}'] == 140
    assert told['ad_lakehouse_sink_quarantined_rows_total{reason="invalid_json",source="impressions"}'] == 10
    assert told['ad_lakehouse_sink_landed_offset{partition="1",source="impressions"}'] == 75
    assert told['ad_lakehouse_sink_up{source="impressions"}'] == 1
    assert (status, state["well"], state["sources"]["impressions"]["phase"]) == (200, True, "working")


def test_stopping_lands_what_is_held(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(30)])
    with service(lake, followed(kafka.bootstrap, max_age_seconds=600), impressions_from(topic)) as running:
        wait_until(
            lambda: {p: each.end for p, each in running.health["impressions"].partitions.items()} == {0: 15, 1: 15}
        )
        time.sleep(2)  # what should not happen has had its time: all is read in much less
        assert not landed_records(lake, topic), "nothing is old enough to be committed"
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert len(landed_records(lake, topic)) == 30


def test_a_commit_waits_for_rows_or_age(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(100)])
    settings = followed(kafka.bootstrap, max_age_seconds=600, max_batch_rows=40)
    with service(lake, settings, impressions_from(topic)):
        wait_landed(lake, topic, 80)
        assert [delivered([each]) for each in notes(lake) if each.get("delivered")] == [40, 40]


def test_showing_the_position_to_the_group_holds_up_no_batch(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(120)])
    settings = followed(kafka.bootstrap, max_batch_rows=20)
    with service(lake, settings, impressions_from(topic)):
        wait_landed(lake, topic, 20)
        wait_landed(lake, topic, 120, seconds=8)  # less than the silence after which the topic is asked for
    group = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": settings.kafka.group})
    shown = group.committed([TopicPartition(topic, partition) for partition in (0, 1)], timeout=10)
    group.close()
    assert [each.offset for each in shown] == [60, 60]


def test_aborted_records_are_passed_over_and_leave_no_lag(kafka, lake: Lake, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(20)
    for kept in (True, False, True, False):
        producer.begin_transaction()
        for number in range(10):
            producer.produce(topic, impression(number), partition=0)
        producer.flush(20)
        if kept:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        wait_landed(lake, topic, 20)
        # 40 records and 4 markers: the position lies behind the last marker
        wait_until(lambda: running.health["impressions"].partitions[0].landed == 44)
        wait_until(lambda: metrics(running.port)['ad_lakehouse_sink_lag{partition="0",source="impressions"}'] == 0)
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)


def test_beside_a_landing_by_hand_each_record_is_there_once(kafka, lake: Lake, topic: str) -> None:
    source = impressions_from(topic)
    with service(lake, followed(kafka.bootstrap, max_batch_rows=7), source):
        for _ in range(3):
            publish(kafka.bootstrap, topic, [impression(i) for i in range(60)])
            land_topic(lake, source, settings_for(kafka.bootstrap, max_batch_rows=11))
        wait_landed(lake, topic, 180)
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 180


class Registry(BaseHTTPRequestHandler):
    """A schema registry that knows one schema."""

    schema = ""

    def do_GET(self) -> None:
        body = json.dumps({"schema": self.schema}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_registry_that_is_away_is_waited_for_and_does_not_hold_up_other_sources(kafka, lake: Lake) -> None:
    impressions, bids = new_topic(kafka.bootstrap), new_topic(kafka.bootstrap, partitions=1)
    source = replace(load_sources()["bid_requests"], topic=bids)
    now = datetime.now(UTC)
    record = {field.name: [] if field.name in ("targeting", "user_segments") else None for field in source.fields}
    record |= {"event_ts": now, "user_id": "u", "auction_id": "a", "auction_type": "first_price", "site": "a.example"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = followed(kafka.bootstrap)
    settings.kafka.schema_registry = f"http://127.0.0.1:{port}"
    Registry.schema = json.dumps(source.schema)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(source.schema)), record)
    publish(kafka.bootstrap, bids, [b"\0\0\0\0\1" + out.getvalue()] * 5, partitions=1)
    publish(kafka.bootstrap, impressions, [impression(i) for i in range(10)])
    with service(lake, settings, source, impressions_from(impressions)) as running:
        wait_until(lambda: health(running.port)[0] == 503, 30)
        wait_landed(lake, impressions, 10)
        told = health(running.port)[1]["sources"]
        assert told["bid_requests"]["phase"] == "waiting"
        assert f"Schema registry http://127.0.0.1:{port} can't be asked" in told["bid_requests"]["problems"][0]
        assert told["impressions"] == {"phase": "working", "problems": []}
        with ThreadingHTTPServer(("127.0.0.1", port), Registry) as registry:
            threading.Thread(target=registry.serve_forever, daemon=True).start()
            name = TableName("bronze", "bid_requests")
            wait_until(lambda: landed_records(lake, bids, name).total() == 5, 60)
            wait_until(lambda: health(running.port)[0] == 200)
            registry.shutdown()
    assert {row[0] for row in rows(lake, "_reason", name)} == {None}


def test_records_that_expired_before_they_were_landed_stop_their_source_and_no_other(kafka, lake: Lake) -> None:
    lost, well = new_topic(kafka.bootstrap), new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, lost, [impression(i) for i in range(40)])
    source = impressions_from(lost)
    land_topic(lake, source, settings_for(kafka.bootstrap))
    publish(kafka.bootstrap, lost, [impression(i) for i in range(40)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for each in admin.delete_records([TopicPartition(lost, 0, 30)]).values():
        each.result(20)
    other = replace(source, name="other", topic=well)
    publish(kafka.bootstrap, well, [impression(i) for i in range(10)])
    with service(lake, followed(kafka.bootstrap), source, other) as running:
        wait_until(lambda: running.health["impressions"].phase == "failed", 30)
        name = TableName("bronze", "other")
        wait_until(lambda: landed_records(lake, well, name).total() == 10)
        assert health(running.port)[0] == 503
        assert "offsets 20–29 expired" in health(running.port)[1]["sources"]["impressions"]["problems"][0]
        with pytest.raises(PositionLost):
            running.raise_if_failed()
    assert landed_records(lake, lost).total() == 40, "nothing behind the gap was landed"


def test_a_topic_that_is_recreated_stops_its_source(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        wait_landed(lake, topic, 10)
        admin.delete_topics([topic])[topic].result(20)
        new_topic(kafka.bootstrap, topic)
        publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
        wait_until(lambda: running.health["impressions"].phase == "failed", 60)
        with pytest.raises((TopicMissing, PositionLost)):
            running.raise_if_failed()
    assert landed_records(lake, topic).total() == 10
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    assert landed_records(lake, topic).total() == 20, "started again, it lands the new topic from its beginning"


def test_a_partition_that_does_not_advance_is_told(kafka, lake: Lake, topic: str, monkeypatch) -> None:
    gate = threading.Event()
    write = commit.write_files
    monkeypatch.setattr(commit, "write_files", lambda *args, **how: (gate.wait(60), write(*args, **how))[1])
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    settings = followed(kafka.bootstrap, stall_seconds=1)
    monkeypatch.setattr("kafka_sinks.service.LOOK_SECONDS", 0.2)
    with service(lake, settings, impressions_from(topic)) as running:
        wait_until(lambda: health(running.port)[0] == 503, 30)
        problems = health(running.port)[1]["sources"]["impressions"]["problems"]
        stalled = metrics(running.port)['ad_lakehouse_sink_stalled{partition="1",source="impressions"}']
        gate.set()
        wait_until(lambda: health(running.port)[0] == 200, 30)
    assert "impressions, partition 0: nothing landed for" in problems[0]
    assert "offsets 0 to 4 are there" in problems[0]
    assert stalled == 1
    assert landed_records(lake, topic).total() == 10


def test_a_port_that_is_taken_is_told(kafka) -> None:
    taken = open_page("127.0.0.1", 0, {})
    with taken, pytest.raises(ConfigurationError, match="cannot be opened"):
        open_page("127.0.0.1", taken.server_address[1], {})


def test_a_topic_without_records_is_well(kafka, lake: Lake, topic: str) -> None:
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        wait_until(lambda: metrics(running.port)['ad_lakehouse_sink_up{source="impressions"}'] == 1)
        assert health(running.port)[0] == 200


def test_a_store_that_is_away_is_waited_for(kafka, lake: Lake, topic: str, monkeypatch) -> None:
    heads = iter([OSError("the store is away")] * 3)
    head = commit.BronzeTable._newest_entry

    def sometimes(table: commit.BronzeTable) -> Any:
        if table.version and (error := next(heads, None)):
            raise error
        return head(table)

    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    land_topic(lake, source, settings_for(kafka.bootstrap))
    monkeypatch.setattr(commit.BronzeTable, "_newest_entry", sometimes)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    with service(lake, followed(kafka.bootstrap), source) as running:
        wait_until(lambda: health(running.port)[0] == 503)
        assert "the store is away" in health(running.port)[1]["sources"]["impressions"]["problems"][0]
        wait_landed(lake, topic, 20)
        wait_until(lambda: health(running.port)[0] == 200)
    assert next(heads, None) is None, "the store was not away"
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)


def test_other_paths_are_not_found(kafka, lake: Lake, topic: str) -> None:
    with service(lake, followed(kafka.bootstrap), impressions_from(topic)) as running:
        assert page(running.port, "/")[0] == 404


def test_memory_is_shared_by_the_sources() -> None:
    assert batch_bytes(1 << 30, 1) == 4 * batch_bytes(1 << 30, 4) + batch_bytes(1 << 30, 1) % 4
    with pytest.raises(ConfigurationError, match="3 sources need 570 MiB, and the service may use 450 MiB"):
        batch_bytes(PROGRAM_BYTES, 3)


def test_the_command_lands_until_it_is_told_to_stop(kafka, lake: Lake, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    worker = Worker(lake, kafka.bootstrap, topic, topic, tmp_path)
    with ended(worker):
        wait_landed(lake, topic, 10)
        assert health(worker.port)[0] == 200
        assert worker.end() == 0, worker.log.read_text()
    assert "Stopping: landing what is held" in worker.log.read_text()
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert IMPRESSIONS in lake.tables()


@pytest.mark.parametrize("other", [True, False], ids=["by another table", "by an older copy"])
def test_a_table_that_is_replaced_is_landed_from_its_own_position(
    kafka, lake: Lake, topic: str, tmp_path: Path, other: bool
) -> None:
    source, table = impressions_from(topic), Path(lake.uri(IMPRESSIONS))
    publish(kafka.bootstrap, topic, [impression(i) for i in range(20)])
    land_topic(lake, source, settings_for(kafka.bootstrap))
    shutil.copytree(table, tmp_path / "older")
    with service(lake, followed(kafka.bootstrap), source):
        publish(kafka.bootstrap, topic, [impression(i) for i in range(20)])
        wait_landed(lake, topic, 40)
        table.rename(tmp_path / "away")
        if not other:
            shutil.copytree(tmp_path / "older", table)
        else:
            lake.create(IMPRESSIONS, bronze_schema(source), partition_by=["event_date"])
        publish(kafka.bootstrap, topic, [impression(i) for i in range(20)])
        wait_landed(lake, topic, 60)
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 60
