"""Which offsets of a topic are next, decided from what the table holds and what the broker still has.

Belongs here: app ids, ranges of offsets, the check that nothing between them was lost; plain values in and out.
Not here: asking the broker (cluster.py), committing a position (commit.py).

A position is the offset of the next record to read; the Delta transaction holds position − 1, because the
version of a transaction names the last thing done. Transaction markers and offsets that compaction removed are
no records: a position may pass over them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ad_lakehouse.errors import LakehouseError
from kafka_sinks.cluster import Topic, Watermarks


class PositionLost(LakehouseError):
    """Offsets that were not landed are gone from the broker, or the broker has fewer than were landed."""

    exit_code = 22


@dataclass(frozen=True)
class Range:
    """Offsets from `start` up to, not including, `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Gap:
    """A loss that was accepted: offsets from `start` up to, not including, `end` of a partition are not landed."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What a run will read, and the losses it accepted to be able to."""

    ranges: Mapping[int, Range]
    gaps: tuple[Gap, ...]


def app_id(topic: Topic, partition: int) -> str:
    """The name under which a partition's position stands in the Delta log."""
    return f"sink:{topic.cluster_id}:{topic.topic_id}:{partition}"


def plan_ranges(
    topic: Topic,
    positions: Mapping[int, int | None],
    watermarks: Mapping[int, Watermarks],
    *,
    accept_loss: bool = False,
) -> Plan:
    """The ranges to land: from each position to the last stable offset.

    A partition without a position begins at its low watermark. A position outside [low, high] raises
    `PositionLost` naming all such partitions, or with `accept_loss` gives a gap: below `low`, reading goes on at
    `low`; above `high` (the partition was cut, for example by an unclean leader election) it goes on at `high`,
    because which of the offsets below were landed before the cut can't be told.
    """
    ranges: dict[int, Range] = {}
    gaps: list[Gap] = []
    for partition in topic.partitions:
        marks, position = watermarks[partition], positions.get(partition)
        start = marks.low if position is None else min(max(position, marks.low), marks.high)
        if position is not None and position != start:
            gaps.append(Gap(topic.name, topic.topic_id, partition, position, start))
        ranges[partition] = Range(start, max(start, marks.stable))
    if gaps and not accept_loss:
        raise position_lost(gaps)
    return Plan(ranges, tuple(gaps))


def position_lost(gaps: list[Gap]) -> PositionLost:
    """The error that names what was lost and how to accept it."""
    told = [
        f"{gap.topic}[{gap.partition}]: offsets {gap.start}–{gap.end - 1} expired before they were landed"
        if gap.end > gap.start
        else f"{gap.topic}[{gap.partition}]: landed up to offset {gap.start - 1}, but the broker ends at {gap.end - 1}"
        for gap in gaps
    ]
    return PositionLost(
        "; ".join(told) + ".",
        remedy="Nothing was changed. Restore the topic, or accept the loss with accept_loss=True "
        "(command line: --accept-loss); the gap is then recorded in the table's log.",
    )
