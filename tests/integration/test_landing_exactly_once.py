"""A real broker and real Delta tables: each record of a topic is in its table exactly once.

Belongs here: landing that is not interrupted. Not here: kill -9 (tests/faults), decoding.
"""

import threading
import time
from collections import Counter

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from landing_topics import (
    IMPRESSIONS,
    committed_records,
    delivered,
    impression,
    impressions_from,
    is_described,
    landed_records,
    new_topic,
    notes,
    publish,
    rows,
    settings_for,
    wait_until,
)

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, KafkaUnreachable, TopicMissing
from kafka_sinks.positions import PositionLost, Range
from kafka_sinks.read_ranges import RangeReader
from kafka_sinks.sink import land_topic
from kafka_sinks.topic_run import LandReport

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka) -> Settings:
    return settings_for(kafka.bootstrap, max_batch_rows=40)


def test_repeated_landings_hold_each_record_once(kafka, lake: Lake, topic: str, settings: Settings) -> None:
    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(150)])
    first = land_topic(lake, source, settings)
    again = land_topic(lake, source, settings)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(30)])
    third = land_topic(lake, source, settings)
    assert (first.records, again.records, third.records) == (150, 0, 30)
    assert first.batches > 1
    assert again.batches == 0
    assert third.lag == {0: 0, 1: 0}
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 180


def test_a_batch_is_bounded_by_rows_and_by_bytes(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i, url="x" * 2_000) for i in range(200)])
    by_bytes = settings_for(kafka.bootstrap, max_batch_bytes=100_000)
    report = land_topic(lake, impressions_from(topic), by_bytes)
    largest = max(delivered([note]) for note in notes(lake))
    assert report.records == 200
    assert largest * 2_000 < 40_000, "three batches of a third of the bytes are held at once"
    publish(kafka.bootstrap, topic, [impression(i) for i in range(100)])
    land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=7))
    assert {delivered([note]) for note in notes(lake)[-14:-1]} == {7}


def test_three_sinks_of_one_topic_at_once_land_each_record_once(kafka, lake: Lake, topic: str) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(400)])
    source = impressions_from(topic)
    gate = threading.Barrier(3)
    reports: list[LandReport] = []

    def sink(max_batch_rows: int) -> None:
        gate.wait(10)
        reports.append(land_topic(lake, source, settings_for(kafka.bootstrap, max_batch_rows=max_batch_rows)))

    sinks = [threading.Thread(target=sink, args=(size,)) for size in (11, 17, 23)]
    for each in sinks:
        each.start()
    for each in sinks:
        each.join(60)
    assert len(reports) == 3, "a sink failed"
    assert sum(report.records for report in reports) == 400
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    assert delivered(notes(lake)) == 400


def test_aborted_records_are_not_landed_and_markers_do_not_stop_the_position(
    kafka, lake: Lake, topic: str, settings: Settings
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(20)

    def transaction(count: int, commit: bool) -> None:
        producer.begin_transaction()
        for i in range(count):
            producer.produce(topic, impression(i), partition=0)
        producer.flush(10)
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)

    transaction(5, commit=False)
    transaction(3, commit=True)
    transaction(4, commit=False)
    source = impressions_from(topic)
    first = land_topic(lake, source, settings)
    version = lake.open(first.table).version()
    again = land_topic(lake, source, settings)
    assert first.records == 3
    assert first.positions[0] == 5 + 1 + 3 + 1 + 4 + 1
    assert first.lag == {0: 0, 1: 0}
    assert again.batches == 0
    assert lake.open(first.table).version() == version, "markers were read again"
    transaction(2, commit=False)
    only_aborted = land_topic(lake, source, settings)
    assert (only_aborted.records, only_aborted.positions[0]) == (0, first.positions[0] + 3)
    producer.begin_transaction()
    producer.produce(topic, impression(1), partition=0)
    producer.flush(10)
    open_transaction = land_topic(lake, source, settings)
    assert open_transaction.records == 0
    assert open_transaction.lag[0] == 1
    producer.commit_transaction(10)
    assert land_topic(lake, source, settings).records == 1
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)


def test_a_batch_that_is_bad_throughout_still_advances(kafka, lake: Lake, topic: str, settings: Settings) -> None:
    bad = [b"{truncated", b"", b"[1]", None, b"\xff\xfe"] * 10
    publish(kafka.bootstrap, topic, bad)
    report = land_topic(lake, impressions_from(topic), settings)
    assert (report.records, report.accepted, report.rejected.total()) == (50, 0, 50)
    assert land_topic(lake, impressions_from(topic), settings).records == 0
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic)
    raw = rows(
        lake, "_raw, count(*)", where="_reason is not null and event_date is null and user_id is null group by 1"
    )
    assert dict(raw) == dict(Counter(bad))


def test_what_arrives_behind_the_frozen_end_is_left_for_the_next_run(kafka, topic: str, settings: Settings) -> None:
    publish(kafka.bootstrap, topic, [impression(i) for i in range(40)])
    cluster = Cluster(settings.kafka)
    with RangeReader(settings.kafka, cluster, cluster.topic(topic)) as reader:
        (batch,) = reader.batches({0: Range(3, 5), 1: Range(1, 4)}, max_rows=100, max_bytes=1 << 20)
    found = zip(batch.partitions.to_pylist(), batch.offsets.to_pylist(), strict=True)
    assert sorted(found) == [(0, 3), (0, 4), (1, 1), (1, 2), (1, 3)]
    assert batch.ranges == {0: Range(3, 5), 1: Range(1, 4)}


def test_every_row_carries_where_it_came_from(kafka, lake: Lake, topic: str, settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(
        topic, impression(1), key=b"k", partition=1, timestamp=int(time.time() * 1000), headers=[("h", b"v")]
    )
    producer.produce(topic, b"{", partition=1)
    producer.flush(10)
    land_topic(lake, impressions_from(topic), settings)
    nulls = "_timestamp is null, _reason is null, event_date is null"
    columns = f"_offset, _topic, _partition, _key, _headers, _file, _row, {nulls}"
    accepted, rejected = rows(lake, columns)
    assert accepted == (0, topic, 1, b"k", [{"key": "h", "value": b"v"}], None, None, False, True, False)
    assert rejected == (1, topic, 1, None, None, None, None, False, False, True)
    (batch,) = rows(lake, "distinct _batch")
    assert batch[0] == notes(lake)[-1]["batch"]


def test_records_deleted_before_they_were_landed_stop_the_sink_and_change_nothing(
    kafka, lake: Lake, topic: str, settings: Settings
) -> None:
    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(20)])
    land_topic(lake, source, settings)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(40)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 1, 25)]).values():
        future.result(20)
    before = lake.open(IMPRESSIONS).version()
    with pytest.raises(PositionLost, match=rf"{topic}\[1\]: offsets 10–24 expired") as lost:
        land_topic(lake, source, settings)
    assert lost.value.exit_code not in (0, 1)
    assert "accept" in lost.value.remedy
    assert lake.open(IMPRESSIONS).version() == before
    accepted = land_topic(lake, source, settings, accept_loss=True)
    assert [(gap.partition, gap.start, gap.end) for gap in accepted.gaps] == [(1, 10, 25)]
    assert accepted.records == 20 + 5
    (note,) = [note for note in notes(lake) if note.get("kind") == "accepted_loss"]
    assert [(place["partition"], place["start"], place["end"], place["lost"]) for place in note["delivered"]] == [
        (1, 10, 25, True)
    ]
    assert land_topic(lake, source, settings).records == 0


def test_a_recreated_topic_is_another_topic(kafka, lake: Lake, topic: str, settings: Settings) -> None:
    source = impressions_from(topic)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(30)])
    land_topic(lake, source, settings)
    cluster = Cluster(settings.kafka)
    first = cluster.topic(topic)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topic])[topic].result(20)
    wait_until(lambda: not is_described(admin, topic))
    with pytest.raises(TopicMissing, match=topic):
        land_topic(lake, source, settings)
    new_topic(kafka.bootstrap, topic)
    with pytest.raises(TopicMissing, match="recreated while it was read"):
        cluster.check_same(first)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
    assert land_topic(lake, source, settings).records == 10
    assert landed_records(lake, topic).total() == 40


def test_a_partition_added_later_is_landed_from_its_beginning(kafka, lake: Lake, settings: Settings) -> None:
    topic = new_topic(kafka.bootstrap, partitions=1)
    publish(kafka.bootstrap, topic, [impression(1)], partitions=1)
    land_topic(lake, impressions_from(topic), settings)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
    wait_until(lambda: len(admin.list_topics(topic, timeout=5).topics[topic].partitions) == 3)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(9)], partitions=3)
    assert land_topic(lake, impressions_from(topic), settings).records == 9
    assert landed_records(lake, topic) == committed_records(kafka.bootstrap, topic, partitions=3)


def test_a_missing_topic_and_a_silent_broker_each_say_so_and_create_no_table(kafka, lake: Lake) -> None:
    with pytest.raises(TopicMissing, match="no-such-topic") as missing:
        land_topic(lake, impressions_from("no-such-topic"), settings_for(kafka.bootstrap))
    with pytest.raises(KafkaUnreachable, match=r"127.0.0.1:1 .*refused") as unreachable:
        land_topic(lake, impressions_from("any"), settings_for("127.0.0.1:1"), timeout=1.0)
    assert len({missing.value.exit_code, unreachable.value.exit_code, 0, 1, PositionLost.exit_code}) == 5
    assert lake.tables() == []


def test_a_landing_goes_on_after_the_broker_was_killed(lake: Lake) -> None:
    with KafkaBroker() as broker:
        topic = new_topic(broker.bootstrap)
        source, settings = impressions_from(topic), settings_for(broker.bootstrap, max_batch_rows=20)
        publish(broker.bootstrap, topic, [impression(i) for i in range(50)])
        land_topic(lake, source, settings)
        publish(broker.bootstrap, topic, [impression(i) for i in range(50)])
        broker.kill()
        with pytest.raises(KafkaUnreachable):
            land_topic(lake, source, settings, timeout=1.0)
        broker.start()
        assert land_topic(lake, source, settings).records == 50
        assert landed_records(lake, topic) == committed_records(broker.bootstrap, topic)


def test_positions_survive_checkpoints_and_log_clean_up(kafka, lake: Lake, topic: str) -> None:
    source = impressions_from(topic)
    one_row = settings_for(kafka.bootstrap, max_batch_rows=5)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(80)])
    report = land_topic(lake, source, one_row)
    table = lake.open(report.table)
    table.create_checkpoint()
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"}, raise_if_not_exists=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    assert land_topic(lake, source, one_row).records == 0
