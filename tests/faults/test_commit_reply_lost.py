"""A commit that landed though its writer was told otherwise, and two writers of one range: nothing is there twice.

Belongs here: what a landing process believes of its own commit. Not here: processes that die (test_kill_sink.py).
"""

from collections.abc import Callable
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from landing_oracle import check, wait_and_check
from landing_service import followed, health, metrics, service
from landing_topics import IMPRESSIONS, filled_topic, impressions_from, settings_for, wait_until

from ad_lakehouse.lake import Lake
from kafka_sinks.batch import Batch
from kafka_sinks.cluster import Cluster
from kafka_sinks.commit import BronzeTable, WriteFailed
from kafka_sinks.positions import Range
from kafka_sinks.read_ranges import RangeReader
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import bronze_schema
from kafka_sinks.topic_run import LandReport, TopicRun, utc_now

pytestmark = pytest.mark.kafka
RECORDS, ROWS = 120, 20
# Where the reply is lost: the handle has not seen its own commit yet, or it has.
PLACES = {"the handle is stale": (DeltaTable, "update_incremental"), "the handle is new": (BronzeTable, "_commit")}
REPLIES = [CommitFailedError("version exists"), DeltaError("no answer"), OSError("connection reset")]


@pytest.fixture
def topic(kafka) -> str:
    return filled_topic(kafka.bootstrap, RECORDS)


@pytest.fixture
def lose_reply(monkeypatch) -> Callable[[str, Exception], list[int]]:
    """Loses the reply to the third commit, and gives the versions that were written when replies were lost."""

    def lose(place: str, reply: Exception) -> list[int]:
        owner, name = PLACES[place]
        call, calls, lost = getattr(owner, name), [], []

        def reply_lost(it: Any, *how: Any) -> None:
            calls.append(None)
            if len(calls) != 3:
                call(it, *how)
                return
            if owner is BronzeTable:
                call(it, *how)
            lost.append(DeltaTable(it.table_uri if owner is DeltaTable else it._handle.table_uri).version())
            raise reply

        monkeypatch.setattr(owner, name, reply_lost)
        return lost

    return lose


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reply", REPLIES, ids=lambda each: type(each).__name__)
def test_a_commit_whose_reply_was_lost_is_not_made_again(
    kafka, lake: Lake, topic: str, lose_reply, place: str, reply: Exception
) -> None:
    source, settings = impressions_from(topic), settings_for(kafka.bootstrap, max_batch_rows=ROWS)
    lost = lose_reply(place, reply)
    if isinstance(reply, CommitFailedError):
        assert land_topic(lake, source, settings).conflicts == 1
    else:
        with pytest.raises(WriteFailed, match=str(reply)):
            land_topic(lake, source, settings)
        assert lake.open(IMPRESSIONS).version() == lost[0]
        assert land_topic(lake, source, settings).records == RECORDS - 3 * ROWS
    assert lost == [3], "no reply was lost, or the commit was not made"
    check(lake, kafka.bootstrap, topic)


@pytest.mark.parametrize("place", PLACES)
def test_the_service_goes_on_after_a_reply_was_lost(
    kafka, lake: Lake, topic: str, lose_reply, place: str, monkeypatch
) -> None:
    monkeypatch.setattr("kafka_sinks.follow.FIRST_WAIT", 1.5)  # long enough to be seen
    lost = lose_reply(place, DeltaError("no answer"))
    with service(lake, followed(kafka.bootstrap, max_batch_rows=ROWS), impressions_from(topic)) as running:
        wait_until(lambda: health(running.port)[0] == 503 and "no answer" in str(health(running.port)))
        wait_and_check(lake, kafka.bootstrap, topic)
        wait_until(lambda: health(running.port)[0] == 200)
        told = metrics(running.port)
    assert lost == [3], "no reply was lost, or the commit was not made"
    # The table is opened anew before anything is tried again, so the commit is seen and not met
    assert told['ad_lakehouse_sink_conflicts_total{source="impressions"}'] == 0


class Runs:
    """Runs of one topic, each with a table open since it began, and batches for them."""

    def __init__(self, bootstrap: str, lake: Lake, topic: str) -> None:
        self._lake, self._source, self._settings = lake, impressions_from(topic), settings_for(bootstrap)
        self._cluster = Cluster(self._settings.kafka)
        self._topic = self._cluster.topic(topic)

    def opened(self) -> TopicRun:
        table = BronzeTable(self._lake, IMPRESSIONS, bronze_schema(self._source))
        report = LandReport(IMPRESSIONS, self._topic.name)
        return TopicRun(self._source, self._settings, self._topic, table, utc_now, report)

    def batch(self, *ranges: range) -> Batch:
        """Offsets of each partition."""
        wanted = {partition: Range(each.start, each.stop) for partition, each in enumerate(ranges)}
        with RangeReader(self._settings.kafka, self._cluster, self._topic) as reader:
            (only,) = reader.batches(wanted, max_rows=RECORDS, max_bytes=1 << 20)
        return only


@pytest.fixture
def runs(kafka, lake: Lake, topic: str) -> Runs:
    return Runs(kafka.bootstrap, lake, topic)


def test_two_handles_of_one_version_land_a_range_once(kafka, lake: Lake, topic: str, runs: Runs) -> None:
    first, second, third = runs.opened(), runs.opened(), runs.opened()
    first.land(first.decode(runs.batch(range(40), range(20))))
    assert second.land(second.decode(runs.batch(range(40), range(20)))) is None, "the same range"
    left = third.land(third.decode(runs.batch(range(60), range(60))))
    assert [run.report.conflicts for run in (first, second, third)] == [0, 1, 1]
    assert left is not None
    assert left.rows.num_rows == RECORDS - 60, "of an overlapping range only the rest"
    check(lake, kafka.bootstrap, topic)


def test_a_partition_that_others_landed_on_meanwhile_is_gone_on_with(kafka, lake: Lake, topic: str, runs: Runs) -> None:
    first, second = runs.opened(), runs.opened()
    second.land(second.decode(runs.batch(range(20), range(60))))
    first.land(first.decode(runs.batch(range(20, 40))))
    # as when the group gives it back: the batch begins at the table's position, which the open handle does not know
    gone_on = second.land(second.decode(runs.batch(range(40, 60))))
    assert gone_on is not None
    assert gone_on.rows.num_rows == 20
    check(lake, kafka.bootstrap, topic)
