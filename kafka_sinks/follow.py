"""Landing a topic without end: a member of the consumer group, its batches into the table, until it is told to stop.

Belongs here: the order of one source's work, what is waited for and what ends it. Not here: reading (member.py),
decoding and committing (topic_run.py), several sources and their health page (service.py).

Reading, decoding and writing overlap, each in a thread of its own. What may pass is waited for: a registry or a store
that is away with the batch in hand; when the broker is away what is in hand is dropped in the end, and read again.
While a batch cannot be written nothing is read, and after librdkafka's `max.poll.interval.ms` the group gives the
partitions to a worker that can write.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import TypeVar

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.batch import Batch
from kafka_sinks.cluster import Cluster, KafkaUnreachable, Topic
from kafka_sinks.commit import BronzeTable, CommitContended, WriteFailed, refused_as_write_failed
from kafka_sinks.decode import RegistryUnavailable
from kafka_sinks.health import SourceHealth
from kafka_sinks.member import Flush, Member, MembershipLost
from kafka_sinks.positions import app_id, plan_ranges
from kafka_sinks.sources import Source, bronze_schema
from kafka_sinks.table_changed import TableReplaced
from kafka_sinks.topic_run import Decoded, LandReport, OutOfOrder, TopicRun, ahead, position, utc_now

LOGGER = logging.getLogger(__name__)
PASSING = (KafkaUnreachable, MembershipLost, RegistryUnavailable, WriteFailed, CommitContended)
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between attempts, doubled each time
Result = TypeVar("Result")


class Stopped(Exception):
    """Nothing is waited for any more: the service was told to stop, or another thread of the source has ended."""


class Follower:
    """Lands one source's topic until `stop`. `budget` is the bytes of payload that a batch may hold."""

    def __init__(
        self,
        lake: Lake,
        source: Source,
        settings: Settings,
        health: SourceHealth,
        *,
        budget: int,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lake, self._source, self._settings, self._health = lake, source, settings, health
        self._budget, self._clock = budget, clock
        self._stop = threading.Event()
        self._ending = threading.Event()  # of the present membership: nothing is waited for any more
        self._member: Member | None = None
        self._cluster: Cluster | None = None
        self._name = TableName("bronze", source.name)
        self._report = LandReport(self._name, str(source.topic))
        self.source = source.name

    def stop(self) -> None:
        """Lands what is held, then ends `run`."""
        self._stop.set()
        self._halt()

    def _halt(self) -> None:
        self._ending.set()
        if self._member is not None:
            self._member.stop()

    def run(self) -> None:
        """Raises what does not pass by itself: `PositionLost`, `TopicMissing`, `TableRestored`, `ReadFailed`, …"""
        try:
            while not self._stop.is_set():
                try:
                    self._patiently("broker", self._follow, self._stop)
                except Stopped:  # told to stop, or another of its threads cannot go on: then it begins anew
                    self._stop.wait(FIRST_WAIT)
                except (OutOfOrder, TableReplaced) as error:  # go on at the position of the table that is there now
                    LOGGER.warning("%s: %s", self.source, error)
                    self._stop.wait(FIRST_WAIT)
        except BaseException as error:
            self._health.failed(error)
            raise
        self._health.stopped()

    def _follow(self) -> None:
        """Joins the group and lands until `stop`, or until the broker cannot be asked."""
        # One for all memberships: a client is freed by the collector only
        self._cluster = cluster = self._cluster or Cluster(self._settings.kafka)
        topic = cluster.topic(str(self._source.topic))
        schema, doc = bronze_schema(self._source), str(self._source.schema.get("doc", ""))
        table = BronzeTable(self._lake, self._name, schema, doc)
        run = TopicRun(self._source, self._settings, topic, table, self._clock, self._report)
        limits = self._settings.landing
        flush = Flush(limits.max_batch_rows, self._budget, limits.max_age_seconds)
        with Member(
            self._settings.kafka,
            cluster,
            topic,
            start=lambda partitions: self._starts(cluster, topic, partitions),
            end=self._health.ends,
            queue_bytes=self._budget * 2,
        ) as member:
            self._member, self._ending = member, threading.Event()
            if self._stop.is_set():
                return
            self._health.runs(cluster, topic, member.joined)
            with (
                closing(ahead(member.batches(flush), self._halt, "kafka-reader")) as batches,
                closing(ahead(self._decoded(run, batches), self._halt, "decoder")) as decoded,
            ):
                for each in decoded:
                    self._land(run, cluster, topic, each)
                    member.landed({partition: it.end for partition, it in each.batch.ranges.items()})

    def _starts(self, cluster: Cluster, topic: Topic, partitions: Collection[int]) -> Mapping[int, int]:
        """Where the table says that these partitions go on. Raises `PositionLost`, `TopicMissing`."""
        cluster.check_same(topic)
        now = Topic(topic.cluster_id, topic.name, topic.topic_id, tuple(partitions))
        with refused_as_write_failed(self._name):
            table = self._lake.open(self._name)
            landed = {each: position(table.transaction_version(app_id(topic, each))) for each in partitions}
        ranges = plan_ranges(now, landed, cluster.watermarks(now)).ranges
        starts = {partition: each.start for partition, each in ranges.items()}
        self._health.begins(starts)
        return starts

    def _decoded(self, run: TopicRun, batches: Iterator[Batch]) -> Iterator[Decoded]:
        for batch in batches:
            yield self._patiently("decode", partial(run.decode, batch), self._ending)

    def _land(self, run: TopicRun, cluster: Cluster, topic: Topic, decoded: Decoded) -> None:
        def attempt() -> None:
            cluster.check_same(topic)
            commit = run.land(decoded)
            self._health.landed(run.report, decoded.batch.ranges, by_us=commit is not None)

        self._patiently("commit", attempt, self._ending)

    def _patiently(self, name: str, step: Callable[[], Result], end: threading.Event) -> Result:
        """The result of a step that is tried until what hinders it has passed; raises `Stopped` at the `end`."""
        wait = FIRST_WAIT
        while True:
            begun = time.monotonic()
            try:
                result = step()
            except PASSING as error:
                if time.monotonic() - begun > LONGEST_WAIT:
                    wait = FIRST_WAIT  # it had worked in between
                self._health.waits(name, error)
                LOGGER.warning("%s: %s Trying again in %.0f s.", self.source, error, wait)
                if end.wait(wait):
                    LOGGER.error("%s ends while it waits; what it holds is read again. %s", self.source, error)
                    raise Stopped from error
                wait = min(LONGEST_WAIT, wait * 2)
            else:
                self._health.works(name)
                return result
