"""The stream monitor: topics read, counts committed, complete windows judged, anomalies recorded and told.

Belongs here: the order of these, what is waited for, what begins anew. Not here: any of the steps.

All that a restart needs is in two tables. Counts and positions enter one of them in one commit; anomalies are found
from counts, so after a restart the last windows are judged again, and what was recorded already is not recorded twice.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import Event

from ad_lakehouse.lake import Lake
from ad_lakehouse.lake.refusals import StoreRefused
from ad_lakehouse.monitor.intake import Intake, TopicChanged
from ad_lakehouse.monitor.state import State
from ad_lakehouse.monitor.table import Kept, WindowsTable
from ad_lakehouse.monitor.watch import Anomaly
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, KafkaUnreachable, TopicMissing
from kafka_sinks.commit import CommitContended, WriteFailed
from kafka_sinks.consume import CHUNK, WAIT_SECONDS
from kafka_sinks.decode import RegistryUnavailable
from kafka_sinks.positions import PositionLost, plan_ranges
from kafka_sinks.sources import Source
from kafka_sinks.table_changed import TableReplaced
from kafka_sinks.topic_run import OutOfOrder

LOGGER = logging.getLogger(__name__)
PASSING = (
    KafkaUnreachable, TopicMissing, PositionLost, RegistryUnavailable, WriteFailed, StoreRefused, CommitContended,
    TableReplaced, OutOfOrder, TopicChanged,
)  # fmt: skip
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
BEAT_SECONDS = 60.0  # a commit at least so often, so that one sees that somebody looks


def utc_now() -> datetime:
    return datetime.now(UTC)


class Monitor:
    """Watches the topics of `sources` until `stop` is set. `told` hears of each anomaly that begins or ends."""

    def __init__(
        self,
        lake: Lake,
        sources: Sequence[Source],
        settings: Settings,
        *,
        told: Callable[[Anomaly], None] = lambda _: None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lake, self._sources, self._settings = lake, sources, settings
        self._told, self._clock = told, clock
        self._seconds = settings.monitor.window_seconds
        self.stop = Event()
        self.records = self.looks = 0

    def run(self) -> None:
        """Goes on through what passes by itself; raises `SchemaConflict`, `ConfigurationError`, `ReadFailed`."""
        wait = FIRST_WAIT
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                self.session()
            except PASSING as error:
                LOGGER.warning("%s", error)
                wait = FIRST_WAIT if time.monotonic() - begun > LONGEST_WAIT else min(wait * 2, LONGEST_WAIT)
                self.stop.wait(wait)

    def session(self, *, until_drained: bool = False) -> None:
        """One stretch of watching, from what the tables hold. `until_drained`: ends when all that is there is counted.

        Raises what makes it begin anew, too.
        """
        with ExitStack() as stack:
            table = WindowsTable(self._lake, self._seconds)
            kept = table.load(self._clock(), self._settings.monitor.baseline_weeks)
            intakes = self._intakes(table, kept, stack)
            state = State(self._lake, self._settings, [each.name for each in self._sources], kept, self._clock())
            ends = {each.source.name: self._ends(each) for each in intakes} if until_drained else {}
            committed = 0.0
            share = wait = WAIT_SECONDS / len(intakes)
            while not self.stop.is_set():
                read = [each.read(wait) for each in intakes]
                come = sum(read)
                self.records += come
                # One that has a full chunk has more: it must not wait for the quiet ones
                wait = 0.0 if max(read) >= CHUNK else share
                drained = until_drained and all(
                    intake.positions.get(p, 0) >= end
                    for intake in intakes
                    for p, end in ends[intake.source.name].items()
                )
                if time.monotonic() - committed < self._settings.monitor.commit_seconds and not (
                    until_drained and not come
                ):
                    continue
                self._commit(table, state, intakes)
                self._judge(state, intakes)
                committed = time.monotonic()  # after it: else slow telling would leave no time to read
                if drained:
                    return
            self._commit(table, state, intakes)

    def _intakes(self, table: WindowsTable, kept: Kept, stack: ExitStack) -> list[Intake]:
        """One for each source, entered."""
        cluster = Cluster(self._settings.kafka)
        found = []
        for source in self._sources:
            topic = cluster.topic(str(source.topic))
            marks = cluster.watermarks(topic)
            plan = plan_ranges(topic, table.positions(topic), marks, accept_loss=True)
            for gap in plan.gaps:  # it watches what is there; landing is what loses nothing in silence
                LOGGER.warning("%s[%s]: offsets %s to %s are not there.", gap.topic, gap.partition, gap.start, gap.end)
            clocks = {p: kept.clocks[topic.topic_id, p] for p in topic.partitions if (topic.topic_id, p) in kept.clocks}
            starts = {partition: span.start for partition, span in plan.ranges.items()}
            intake = stack.enter_context(Intake(source, self._settings, cluster, topic, starts, clocks))
            table.skip(topic, plan.gaps, self._clock())
            intake.warm_up({partition: each.low for partition, each in marks.items()})
            found.append(intake)
        return found

    def _ends(self, intake: Intake) -> Mapping[int, int]:
        marks = Cluster(self._settings.kafka).watermarks(intake.topic)
        return {partition: each.stable for partition, each in marks.items()}

    def _commit(self, table: WindowsTable, state: State, intakes: Sequence[Intake]) -> None:
        counted = [each for each in (intake.take() for intake in intakes) if each is not None]
        if not counted and time.monotonic() - state.beat < BEAT_SECONDS:
            return
        table.add(counted, self._clock())
        state.beat = time.monotonic()
        state.count(counted, self._clock())
        for intake in intakes:
            intake.show_position()

    def _judge(self, state: State, intakes: Sequence[Intake]) -> None:
        now = self._clock()
        complete = {
            intake.source.name: mark // (self._seconds * 1_000_000)
            for intake in intakes
            if (mark := intake.complete_until(now)) is not None
        }
        for change in state.judge(complete, now):
            self._told(change)
        state.tell(complete, now)
        self.looks += 1
