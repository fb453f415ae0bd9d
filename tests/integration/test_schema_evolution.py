"""Schemas that change, on a real topic: what writers add, drop, widen, rename or break, and what our sources add.

Belongs here: records of several writers in one batch, columns added while others land. Not here: the registry's own
failures (test_schema_registry.py), each type by itself (tests/unit/test_decode_*.py).
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from avro_writers import settings_with
from landing_topics import committed_records, landed_records, new_topic, publish, rows, settings_for
from registry_server import RegistryServer
from video_writers import LANDED, MOMENT, VIDEO, WRITERS, WRITTEN, Wire, Writer, payload, video, with_field

from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings
from kafka_sinks.commit import SchemaConflict
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka) -> str:
    return new_topic(kafka.bootstrap, partitions=1)


@pytest.fixture
def settings(kafka, registry: RegistryServer) -> Settings:
    return settings_with(registry, settings_for(kafka.bootstrap))


@pytest.mark.parametrize("wire", ["json", "avro"])
def test_each_record_of_many_writers_in_one_batch_lands_or_is_quarantined_by_itself(
    kafka, lake: Lake, registry: RegistryServer, settings: Settings, topic: str, tmp_path: Path, wire: Wire
) -> None:
    writers = [each for each in WRITERS if wire in each.wires]
    payloads = {each.promise: payload(each, wire, registry, f"{topic}-value") for each in writers}
    if wire == "avro":
        assert len({each[:5] for each in payloads.values()}) >= 20, "the writers have schemas of their own"
    sent = [each for _ in range(3) for each in writers]
    publish(kafka.bootstrap, topic, [payloads[each.promise] for each in sent], partitions=1)
    report = land_topic(lake, video(tmp_path / "sources", topic, wire), settings)
    assert (report.records, report.batches) == (len(sent), 1)
    columns = ", ".join(LANDED)
    found = rows(lake, f"_offset, _rescued, _reason, _error, _raw, {columns}", VIDEO)
    wrong = {}
    for each, (offset, rescued, reason, error, raw, *values) in zip(sent, found, strict=True):
        landed = (dict(zip(LANDED, values, strict=True)), rescued and json.loads(rescued), reason)
        expected = each.expected()
        words = (error or "")[: len(expected[3] or "")] or None
        if (*landed, words) != expected or raw != (payloads[each.promise] if each.fault else None):
            wrong[f"{offset}: {each.promise}"] = (*landed, error)
    assert wrong == {}


FORMS = [["event_ts", "user_id"], list(WRITTEN), [*WRITTEN, "bitrate"], ["event_ts", "user_id", "watched_ms"]]


def test_csv_writers_are_told_apart_by_their_number_of_columns(
    kafka, lake: Lake, settings: Settings, topic: str, tmp_path: Path
) -> None:
    now = MOMENT.isoformat()
    lines = {
        f"{now},u": ("u", None, None, None, None),
        f"{now},u,1500,t": ("u", 1500, "t", None, None),
        f"{now},u,1500,t,800": ("u", 1500, "t", '{"bitrate":"800"}', None),
        f"{now},u,7": ("u", 7, None, None, None),
        f"{now},u,,5": ("u", None, "5", None, None),
        f"{now},u,soon,t": (None, None, None, None, "invalid_type"),
        f"{now},,1500,t": (None, None, None, None, "missing_field"),
        f"{now},u,1500,t,800,more": (None, None, None, None, "invalid_csv"),
    }
    sent = list(lines) * 3
    publish(kafka.bootstrap, topic, [line.encode() for line in sent], partitions=1)
    report = land_topic(lake, video(tmp_path / "sources", topic, "csv", header=FORMS), settings)
    assert (report.records, report.batches) == (24, 1)
    found = rows(lake, "_offset, user_id, watched_ms, title, _rescued, _reason", VIDEO)
    assert [line[1:] for line in found] == [lines[each] for each in sent]
    errors = {error for (error,) in rows(lake, "_error", VIDEO, "_reason = 'invalid_csv'")}
    assert errors == {"6 columns instead of 2 or 4 or 5 or 3"}


@pytest.mark.parametrize("wire", ["json", "csv", "avro"])
def test_a_field_added_to_a_source_is_a_column_at_once_and_null_in_older_rows(
    kafka, lake: Lake, registry: RegistryServer, settings: Settings, topic: str, tmp_path: Path, wire: Wire
) -> None:
    newer = Writer("adds a field", {"bitrate": ("int", 800)})
    older_payload, newer_payload = (
        payload(each, wire, registry, f"{topic}-value") for each in (Writer("writes what we read"), newer)
    )
    older = video(tmp_path / "sources", topic, wire, header=FORMS)
    publish(kafka.bootstrap, topic, [older_payload, newer_payload] * 5, partitions=1)
    land_topic(lake, older, settings)
    assert "bitrate" not in lake.open(VIDEO).schema().to_arrow().names
    publish(kafka.bootstrap, topic, [older_payload, newer_payload] * 5, partitions=1)
    land_topic(lake, with_field(older, name="bitrate", type=["null", "int"], default=None), settings)
    found = rows(lake, "_offset, bitrate, _rescued is not null", VIDEO)
    first = [(n, None, n % 2 == 1) for n in range(10)]
    assert found == first + [(n, 800 if n % 2 else None, False) for n in range(10, 20)]
    assert landed_records(lake, topic, VIDEO) == committed_records(kafka.bootstrap, topic, partitions=1)


def test_a_source_that_changes_the_type_of_a_column_is_refused_and_changes_nothing(
    kafka, lake: Lake, settings: Settings, topic: str, tmp_path: Path
) -> None:
    publish(kafka.bootstrap, topic, [payload(Writer("writes what we read"), "json")] * 3, partitions=1)
    source = video(tmp_path / "sources", topic, "json")
    land_topic(lake, source, settings)
    version = lake.open(VIDEO).version()
    wider = [each | ({"type": "long"} if each["name"] == "position" else {}) for each in source.schema["fields"]]
    with pytest.raises(SchemaConflict, match=r"video_events\.position is .*integer.* in the table, .*long"):
        land_topic(lake, replace(source, schema={**source.schema, "fields": wider}), settings)
    assert lake.open(VIDEO).version() == version
