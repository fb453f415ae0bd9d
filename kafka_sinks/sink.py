"""Landing a topic: every record up to the end that was there when the run began, exactly once, then stop.

Belongs here: one run of one topic, its order, what it reports. Not here: batches to rows to commits (topic_run.py), a
service that does not stop (follow.py), when to run (defs/).
"""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster
from kafka_sinks.commit import BronzeTable
from kafka_sinks.positions import plan_ranges
from kafka_sinks.read_ranges import RangeReader
from kafka_sinks.sources import Source, bronze_schema
from kafka_sinks.table_changed import accept_restore
from kafka_sinks.topic_run import LandReport, TopicRun, ahead, utc_now

HELD = 3  # batches held at once: one is read, one decoded, one written


def land_topic(
    lake: Lake,
    source: Source,
    settings: Settings,
    *,
    accept_loss: bool = False,
    progress: Callable[[LandReport], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
    timeout: float = 10.0,
) -> LandReport:
    """Lands the source's topic up to its last stable offsets. May run beside other sinks of the same topic.

    `progress` is told after each batch; questions to the broker wait at most `timeout` seconds. Raises
    `KafkaUnreachable`, `TopicMissing`, `PositionLost` (unless `accept_loss`), `ReadFailed`, `CommitContended`,
    `WriteFailed`, `TableReplaced`, `TableRestored` (unless `accept_loss`);
    batches committed before the error stay, and the next run goes on behind them.
    """
    if source.topic is None:
        raise ConfigurationError(
            f"Source {source.name} has no topic.", remedy="Set `topic` in its YAML, or land its files."
        )
    begun = time.monotonic()
    cluster = Cluster(settings.kafka, timeout)
    topic = cluster.topic(source.topic)
    watermarks = cluster.watermarks(topic)
    name = TableName("bronze", source.name)
    if accept_loss:
        accept_restore(lake, name)
    table = BronzeTable(lake, name, bronze_schema(source), str(source.schema.get("doc", "")))
    run = TopicRun(source, settings, topic, table, clock, LandReport(name, topic.name))
    plan = plan_ranges(topic, run.positions(), watermarks, accept_loss=accept_loss)
    if plan.gaps:
        run.accept(plan)
    limits = settings.landing
    with (
        RangeReader(settings.kafka, cluster, topic) as reader,
        closing(
            ahead(
                reader.batches(
                    plan.ranges, max_rows=limits.max_batch_rows, max_bytes=max(1, limits.max_batch_bytes // HELD)
                ),
                reader.stop,
                "kafka-reader",
            )
        ) as batches,
        closing(ahead(map(run.decode, batches), reader.stop, "decoder")) as decoded,
    ):
        for each in decoded:
            cluster.check_same(topic)
            run.land(each)
            run.report.seconds = time.monotonic() - begun
            progress(run.report)
        report = run.finish()
        reader.show_position(report.positions)
    ends = cluster.watermarks(topic)
    report.lag = {each: max(0, ends[each].high - report.positions.get(each, ends[each].low)) for each in ends}
    report.seconds = time.monotonic() - begun
    return report
