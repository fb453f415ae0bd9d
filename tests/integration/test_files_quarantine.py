"""Rejected rows are found, shown whole, and moved in one commit once their fault is mended.

Belongs here: quarantine and replay over real tables. Not here: why a row is rejected (tests of decode).
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest
from landing_topics import IMPRESSIONS, delivered, impression, impressions_from, new_topic, notes, publish, rows
from landing_topics import settings_for as kafka_settings

from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.quarantine import Filter, NotInQuarantine, count_rejected, list_rejected, show
from ad_lakehouse.files.records import LONGEST_RECORD
from ad_lakehouse.files.replay import replay
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import Source, load_sources
from kafka_sinks.topic_run import LandReport

BIDS, CLICKS = TableName("bronze", "bid_requests"), TableName("bronze", "clicks")
FOREIGN = b'{"when":"%s","cr":"c1","uid":"u%d","page":"news.example"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file: good rows, rows of a producer with other names, and garbage."""
    drop = tmp_path / "drop"
    drop.mkdir()
    now = datetime.now(UTC).isoformat().encode()
    foreign = [FOREIGN % (now, number) for number in range(5)]
    (drop / "a.jsonl").write_bytes(b"\n".join([impression(0), *foreign, b"{garbage", impression(1)]))
    return drop


def mended() -> dict[str, Source]:
    """The sources after someone mapped the producer's names."""
    names = {"event_ts": "when", "creative_id": "cr", "user_id": "uid", "site": "page"}
    sources = load_sources()
    return sources | {"impressions": replace(sources["impressions"], mapping=names)}


def test_rejected_rows_are_counted_listed_and_shown_whole(lake: Lake, folder: Path) -> None:
    land_files(lake, load_sources(), folder, Settings())
    assert count_rejected(lake) == {("impressions", "invalid_json"): 1, ("impressions", "missing_field"): 5}
    assert count_rejected(lake, Filter(source="clicks")) == {}
    assert count_rejected(lake, Filter(since=datetime.now(UTC) + timedelta(hours=1))) == {}
    (garbage,) = list_rejected(lake, Filter(reason="invalid_json"))
    assert (garbage.raw, garbage.place, garbage.source) == (b"{garbage", "a.jsonl#6", "impressions")
    assert show(lake, garbage.key) == garbage
    with pytest.raises(NotInQuarantine, match="nothing"):
        show(lake, "nothing")


def test_replay_moves_mended_rows_in_one_commit_and_leaves_the_rest(lake: Lake, folder: Path) -> None:
    land_files(lake, load_sources(), folder, Settings())
    origin = "_file, _row, _batch, _landed_at, _timestamp"
    before, version = rows(lake, origin), lake.open(IMPRESSIONS).version()
    reports = {report.source: report for report in replay(lake, mended(), Settings())}
    assert (reports["impressions"].accepted, reports["impressions"].still.total()) == (5, 1)
    assert lake.open(IMPRESSIONS).version() == version + 1
    assert rows(lake, origin) == before
    assert rows(lake, "user_id, _row", where="_reason is null and _row between 1 and 5 and event_date is not null") == [
        (f"u{number}", number + 1) for number in range(5)
    ]
    assert rows(lake, "_row, _raw", where="_raw is not null") == [(6, b"{garbage")]
    assert notes(lake)[-1] == {"kind": "replay", "rows": 5}
    assert delivered(notes(lake)) == 8
    days = TableLog(lake, IMPRESSIONS).changed_days("event_date", version, version + 1)
    assert days == {None, datetime.now(UTC).date()}
    again = replay(lake, mended(), Settings(), Filter(source="impressions"))
    assert [(report.accepted, report.commits) for report in again] == [(0, 0)]


def test_replay_keeps_the_values_of_a_field_added_since(lake: Lake, folder: Path) -> None:
    land_files(lake, load_sources(), folder, Settings())
    sources = mended()
    schema = dict(sources["impressions"].schema)
    schema["fields"] = [*schema["fields"], {"name": "who", "type": ["null", "string"], "default": None}]
    widened = replace(sources["impressions"], schema=schema, mapping={**sources["impressions"].mapping, "who": "uid"})
    reports = replay(lake, sources | {"impressions": widened}, Settings())
    assert {report.source: report.accepted for report in reports}["impressions"] == 5
    assert rows(lake, "who", where="who is not null") == [(f"u{number}",) for number in range(5)]


def test_replay_of_a_csv_file_knows_its_header(lake: Lake, tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    header = "uid,conversion_type,event_ts,campaign_id"
    (tmp_path / "a.csv").write_text(f"{header}\nu1,click,{now},c1\nu2,click,not a time,c1\nu3,clack,{now},c1\n")
    land_files(lake, load_sources(), tmp_path, Settings(), only=["clicks", "conversions"])
    assert count_rejected(lake)["clicks", "missing_field"] == 3
    sources = load_sources()
    sources["clicks"] = replace(sources["clicks"], mapping={"user_id": "uid"})
    (report,) = replay(lake, sources, Settings(), Filter(source="clicks"))
    assert (report.accepted, dict(report.still)) == (1, {"invalid_type": 1, "unknown_type": 1})
    assert rows(lake, "user_id, _row, _headers", CLICKS, "_reason is null") == [("u1", 0, None)]


def test_replay_of_an_avro_container_takes_its_records_again(lake: Lake, tmp_path: Path) -> None:
    schema = dict(load_sources()["bid_requests"].schema)
    ten_days_ago = int((datetime.now(UTC) - timedelta(days=10)).timestamp() * 1_000_000)
    bid = {"event_ts": ten_days_ago, "user_id": "u1", "auction_id": "a1", "targeting": ["geo=de"]}
    with (tmp_path / "bids.avro").open("wb") as stream:
        fastavro.writer(stream, schema, [bid, bid])
    land_files(lake, load_sources(), tmp_path, Settings(landing=LandingSettings(past_days=5)))
    assert count_rejected(lake) == {("bid_requests", "event_time_out_of_range"): 2}
    (report,) = replay(lake, load_sources(), Settings(), Filter(source="bid_requests"))
    assert (report.accepted, report.still.total()) == (2, 0)
    assert rows(lake, "auction_id, _row, _raw", BIDS) == [
        ("a1", 0, None),
        ("a1", 1, None),
    ]


@pytest.mark.kafka
def test_replay_and_sink_at_once_lose_nothing(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    now = datetime.now(UTC).isoformat().encode()
    publish(kafka.bootstrap, topic, [FOREIGN % (now, number) for number in range(400)])
    settings = kafka_settings(kafka.bootstrap, max_batch_rows=10)

    def replays(sink: Future[LandReport]) -> int:
        moved = 0
        while not sink.done():
            if lake.open_if_exists(IMPRESSIONS) is not None:
                moved += replayed()
        return moved

    def replayed() -> int:
        return sum(report.accepted for report in replay(lake, mended(), settings))

    with ThreadPoolExecutor(3) as pool:
        sink = pool.submit(land_topic, lake, impressions_from(topic), settings)
        others = [pool.submit(replays, sink) for _ in range(2)]
        assert sink.result(100).records == 400
        moved = [other.result(100) for other in others]
    assert sum(moved) + replayed() == 400
    assert rows(lake, "count(*), count(distinct (_partition, _offset)), count(_reason)") == [(400, 400, 0)]
    assert sum(note.get("kind") == "replay" for note in notes(lake)) > 1


def test_a_replay_does_not_accept_the_beginning_of_a_record(lake: Lake, tmp_path: Path) -> None:
    moment = datetime.now(UTC).isoformat()
    text = f"event_ts,user_id,campaign_id,conversion_type,url\n{moment},u,c,click,{'x' * (LONGEST_RECORD + 1)}\n"
    (tmp_path / "a.csv").write_text(text)
    land_files(lake, load_sources(), tmp_path, Settings(), only=["clicks"])
    assert count_rejected(lake) == {("clicks", "too_large"): 1}
    (report,) = replay(lake, load_sources(), Settings(), Filter(source="clicks"))
    assert (report.accepted, dict(report.still)) == (0, {"too_large": 1})
    assert count_rejected(lake) == {("clicks", "too_large"): 1}
