"""kill -9 of a landing process at chosen and at random moments: no record is lost, none is there twice.

Belongs here: a sink in a process of its own that dies. Not here: the processes (landing_kills.py), landing that is not
interrupted.
"""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from landing_kills import (
    AFTER_A_COLUMN_WAS_ADDED,
    AFTER_DECODING,
    AFTER_THE_COMMIT,
    AS_IT_GOES_ON,
    BEFORE_KAFKA_IS_TOLD,
    BETWEEN_DATA_AND_COMMIT,
    DISK_IS_FULL,
    NOTHING,
    WHILE_DATA_ARE_WRITTEN,
    WHILE_REJECTED_ROWS_ARE_WRITTEN,
    WITH_RECORDS_IN_HAND,
    World,
    killed,
    sink,
    sources_with_a_field,
)
from landing_oracle import check
from landing_topics import (
    IMPRESSIONS,
    delivered,
    impression,
    impressions_from,
    landed_records,
    new_topic,
    notes,
    publish,
    rows,
    settings_for,
)

from ad_lakehouse.lake import Lake
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka
RECORDS = 200  # ten batches of 20: enough to die three times after two of them


def record(number: int) -> bytes:
    """One in nine is bad; one in five has a field that its source does not know yet."""
    return b"{bad" if not number % 9 else impression(number, **({"hint": "h"} if not number % 5 else {}))


@pytest.mark.parametrize(
    ("fault", "commits"),
    [
        pytest.param(BETWEEN_DATA_AND_COMMIT, 2, id="between data and commit"),
        pytest.param(WHILE_DATA_ARE_WRITTEN, 2, id="while data are written"),
        pytest.param(AFTER_THE_COMMIT, 3, id="after a commit"),
        pytest.param(BEFORE_KAFKA_IS_TOLD, RECORDS // 20, id="between commit and Kafka's offset commit"),
    ],
)
def test_rows_survive_a_kill(kafka, lake: Lake, fault: str, commits: int) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) if i % 9 else b"{bad" for i in range(RECORDS)])
    for number in range(1, 4 if fault is BETWEEN_DATA_AND_COMMIT else 2):
        assert killed(sink(lake, kafka.bootstrap, topic, fault)), f"kill {number} did not happen"
        there = [note for note in notes(lake) if note.get("delivered")]
        if number == 1:
            assert len(there) == commits
            assert delivered(there) == 20 * commits
        if fault is BETWEEN_DATA_AND_COMMIT:
            assert orphans(lake), "no data were written before the kill"
    assert not killed(sink(lake, kafka.bootstrap, topic, NOTHING))
    check(lake, kafka.bootstrap, topic)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([WITH_RECORDS_IN_HAND], id="with records in hand"),
        pytest.param([AFTER_DECODING], id="after decoding"),
        pytest.param([WHILE_REJECTED_ROWS_ARE_WRITTEN], id="while rejected rows are written"),
        pytest.param([BETWEEN_DATA_AND_COMMIT], id="between data and commit"),
        pytest.param([BEFORE_KAFKA_IS_TOLD], id="between commit and Kafka's offset commit"),
        pytest.param([AFTER_THE_COMMIT, AFTER_A_COLUMN_WAS_ADDED, AS_IT_GOES_ON], id="and twice while it recovers"),
        pytest.param([WHILE_REJECTED_ROWS_ARE_WRITTEN] * 3, id="three in a row"),
    ],
)
def test_rows_survive_a_kill_after_which_clock_schema_and_code_are_others(
    kafka, lake: Lake, tmp_path: Path, faults: list[str]
) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, map(record, range(RECORDS)))
    new = sources_with_a_field(tmp_path / "sources", "hint")
    worlds = [World(), *(World(rows, days, new, plain=False) for rows, days in ((30, 2), (7, -3), (50, 4)))]
    for fault, world in zip(faults, worlds, strict=False):
        assert killed(sink(lake, kafka.bootstrap, topic, fault, world)), f"no kill in {world}"
        assert delivered(notes(lake)) == landed_records(lake, topic).total()
    publish(kafka.bootstrap, topic, map(record, range(RECORDS, RECORDS + 40)))
    assert not killed(sink(lake, kafka.bootstrap, topic, NOTHING, worlds[len(faults)]))
    check(lake, kafka.bootstrap, topic)
    now = datetime.now(UTC).isoformat()
    hints = rows(
        lake,
        f"distinct abs(date_diff('hour', _landed_at, timestamptz '{now}')) > 24, hint, _rescued",
        where="_reason is null and (hint is not null or _rescued is not null)",
    )
    found = {(bool(later), hint, rescued) for later, hint, rescued in hints}
    assert (True, "h", None) in found, "nothing was landed in the changed world"
    assert found <= {(True, "h", None), (False, None, '{"hint":"h"}')}


def test_a_full_disk_is_told_and_loses_nothing(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(RECORDS)])
    process = sink(lake, kafka.bootstrap, topic, DISK_IS_FULL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"WriteFailed: bronze.impressions could not be read or written" in told
    assert delivered(notes(lake)) == 60
    assert not killed(sink(lake, kafka.bootstrap, topic, NOTHING))
    check(lake, kafka.bootstrap, topic)


def test_rows_survive_kills_at_random_moments(kafka, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(i) for i in range(3_000)])
    kills = 0
    for attempt in range(6):
        process = sink(lake, kafka.bootstrap, topic, NOTHING, World(rows=25))
        before = committed(lake)
        deadline = time.monotonic() + 60
        while committed(lake) < before + 4 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001 * (attempt + 1))
        process.kill()
        kills += killed(process)
        assert landed_records(lake, topic).total() == delivered(notes(lake))
        assert max(landed_records(lake, topic).values()) == 1
    assert kills >= 3
    report = land_topic(lake, impressions_from(topic), settings_for(kafka.bootstrap))
    assert report.lag == {0: 0, 1: 0}
    check(lake, kafka.bootstrap, topic)


def committed(lake: Lake) -> int:
    """Commits in the log now."""
    return len(list(Path(lake.uri(IMPRESSIONS)).glob("_delta_log/*.json")))


def orphans(lake: Lake) -> set[str]:
    """Data files on disk that no commit names."""
    folder = Path(lake.uri(IMPRESSIONS))
    there = {path.name for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}
    return there - {Path(uri).name for uri in lake.open(IMPRESSIONS).file_uris()}
