"""Where a run of a sink begins and ends: a table of cases, no broker."""

import pytest

from kafka_sinks.cluster import Topic, Watermarks
from kafka_sinks.positions import PositionLost, Range, app_id, plan_ranges
from kafka_sinks.topic_run import OutOfOrder, untaken

TOPIC = Topic("cluster", "ad.clicks", "uuid", (0,))


@pytest.mark.parametrize(
    ("position", "marks", "expected"),
    [
        pytest.param(None, Watermarks(0, 9, 9), Range(0, 9), id="never landed: from the beginning"),
        pytest.param(None, Watermarks(4, 9, 9), Range(4, 9), id="never landed: from what is still kept"),
        pytest.param(6, Watermarks(4, 9, 9), Range(6, 9), id="goes on behind what is landed"),
        pytest.param(4, Watermarks(4, 9, 9), Range(4, 9), id="nothing lost when the next record is the oldest"),
        pytest.param(9, Watermarks(9, 9, 9), Range(9, 9), id="all landed, all deleted since"),
        pytest.param(6, Watermarks(0, 7, 9), Range(6, 7), id="an open transaction holds the end back"),
        pytest.param(8, Watermarks(0, 7, 9), Range(8, 8), id="the stable end never takes a position back"),
    ],
)
def test_a_run_covers_what_is_next_up_to_the_last_stable_offset(
    position: int | None, marks: Watermarks, expected: Range
) -> None:
    assert plan_ranges(TOPIC, {0: position}, {0: marks}).ranges == {0: expected}


@pytest.mark.parametrize(
    ("position", "marks", "told", "goes_on_at"),
    [
        pytest.param(3, Watermarks(5, 9, 9), r"ad.clicks\[0\]: offsets 3–4 expired", 5, id="expired"),
        pytest.param(12, Watermarks(0, 9, 9), r"landed up to offset 11, but the broker ends at 8", 9, id="cut"),
    ],
)
def test_a_position_outside_the_log_stops_unless_the_loss_is_accepted(
    position: int, marks: Watermarks, told: str, goes_on_at: int
) -> None:
    with pytest.raises(PositionLost, match=told):
        plan_ranges(TOPIC, {0: position}, {0: marks})
    plan = plan_ranges(TOPIC, {0: position}, {0: marks}, accept_loss=True)
    assert plan.ranges == {0: Range(goes_on_at, 9)}
    assert [(gap.start, gap.end) for gap in plan.gaps] == [(position, goes_on_at)]


def test_the_app_id_names_cluster_topic_id_and_partition() -> None:
    assert app_id(TOPIC, 3) == "sink:cluster:uuid:3"


@pytest.mark.parametrize(
    ("position", "left"),
    [(None, Range(10, 20)), (10, Range(10, 20)), (15, Range(15, 20)), (20, None), (30, None)],
)
def test_what_others_have_landed_is_taken_from_a_range(position: int | None, left: Range | None) -> None:
    assert untaken({0: Range(10, 20)}, {0: position}) == ({} if left is None else {0: left})


def test_a_range_behind_the_position_is_refused() -> None:
    with pytest.raises(OutOfOrder, match="landed up to offset 8, and the batch begins at 10"):
        untaken({0: Range(10, 20)}, {0: 9})
