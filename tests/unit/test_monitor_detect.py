"""Judging windows: each kind fires on its fault and only then; the season does not fire."""

from collections.abc import Mapping

import numpy as np
import pytest

from ad_lakehouse.monitor.baseline import expected, past_of, usual_rate, wilson
from ad_lakehouse.monitor.detect import Reading
from ad_lakehouse.monitor.series import ARRIVED, EVENTS, Cells, Integers, Series
from ad_lakehouse.monitor.watch import Watch
from ad_lakehouse.settings import MonitorSettings
from benchmarks.faulty_traffic import KINDS, MONDAY, Fault, compare, faults_of, judged, traffic

SETTINGS = MonitorSettings()
DAY = 8_640  # windows of 10 s
AT = 2 * DAY + 5_001  # in the afternoon of the third day


def found(kind: str | None, a_second: float = 50.0, seed: int = 3) -> set[tuple[str, str]]:
    """Source and kind of all anomalies around a fault of ten minutes, or without one of the whole third day."""
    faults = [] if kind is None else [Fault(kind, AT, AT + 60)]
    first, last = (AT - 300, AT + 400) if faults else (2 * DAY, 3 * DAY)
    return {(each.source, each.kind) for _, each in judged(traffic(3, a_second, seed, faults), SETTINGS, first, last)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_is_found(kind: str) -> None:
    assert (("clicks" if kind == "ctr" else "impressions"), kind) in found(kind)


@pytest.mark.parametrize("seed", range(2))
def test_the_season_alone_is_no_anomaly(seed: int) -> None:
    assert found(None, seed=seed) == set()


def test_a_share_brings_no_anomaly_of_another_kind() -> None:
    assert found("duplicates") == {("impressions", "duplicates"), ("clicks", "duplicates")}
    assert found("ctr") <= {("clicks", "ctr"), ("clicks", "drop"), ("clicks", "spike")}


def test_nothing_is_judged_before_there_is_history() -> None:
    counts = {key: row[: SETTINGS.min_history] for key, row in traffic(1, 50, 3, []).items()}
    counts["impressions", EVENTS][200:] = 0
    assert judged(counts, SETTINGS, 0) == []


def test_too_few_events_are_no_anomaly() -> None:
    assert found("stop", a_second=0.005) == set()


def test_an_anomaly_ends_when_the_fault_does() -> None:
    changes = judged_changes([Fault("stop", AT, AT + 60)])
    (begun,), (ended,) = (
        [c for c in changes if (c.source, c.kind) == ("impressions", "stop") and (c.ended is None) is still]
        for still in (True, False)
    )  # fmt: skip
    base = MONDAY // 10
    assert begun.began - base == AT
    assert begun.noticed - base <= AT + 2
    assert ended.ended is not None
    assert AT + 60 <= ended.ended - base <= AT + 62


def judged_changes(faults: list[Fault]) -> list:
    from ad_lakehouse.monitor.judging import Judge

    base, counts = MONDAY // 10, traffic(3, 50, 3, faults)
    series = Series()
    series.add([Cells(*key, np.arange(base, base + 3 * DAY), row) for key, row in counts.items()], base)
    judge = Judge(series, ("impressions", "clicks"), SETTINGS)
    judge.start(base + AT - 997)
    # In many stretches, as live: the result must not depend on them
    changes = []
    ends = [*range(AT - 900, AT - 30, 97), *range(AT - 30, AT + 70), *range(AT + 70, AT + 997, 97), AT + 997]
    for end in (base + each for each in ends):
        changes += judge.judge({"impressions": end, "clicks": min(end, base + AT + 957) + 40})
    return changes


def test_what_is_found_does_not_depend_on_when_one_looks() -> None:
    faults = [Fault("spike", AT, AT + 60), Fault("ctr", AT + 800, AT + 860)]
    live = [each for each in judged_changes(faults) if each.ended is None]
    whole = [each for _, each in judged(traffic(3, 50, 3, faults), SETTINGS, AT - 997, AT + 997)]
    assert sorted(map(repr, live)) == sorted(map(repr, whole))
    assert live


def test_k_of_n_begin_and_n_normal_windows_end() -> None:
    watch = Watch("impressions", 2, 3)
    flags = [1, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    changes = [watch.step(at, [Reading("drop", bool(flag), 1, 2, 1, 3)]) for at, flag in enumerate(flags)]
    assert [(at, c.began, c.ended) for at, each in enumerate(changes) for c in each] == [(5, 3, None), (8, 3, 6)]


def test_a_kind_that_cannot_be_judged_any_more_ends() -> None:
    watch = Watch("impressions", 1, 2)
    assert watch.step(0, [Reading("ctr", True, 1, 2, 1, 3)])
    assert [each.ended for at in (1, 2) for each in watch.step(at, [])] == [1]


@pytest.mark.parametrize(
    ("days", "kind"), [(0.2, "last hours"), (2.0, "hour of day"), (8.0, "hour of day"), (15.0, "hour of week")]
)
def test_the_past_is_the_hour_of_the_week_once_there_are_weeks(days: float, kind: str) -> None:
    past = past_of(round(days * DAY), 0, 10, 4, 360)
    assert past is not None
    assert past.kind == kind
    assert all(0 <= start < end <= days * DAY for start, end in past.slices)


def test_too_short_a_past_is_none() -> None:
    assert past_of(300, 0, 10, 4, 360) is None


def test_median_and_mad_stand_outliers() -> None:
    calm = np.array([100.0, 110, 90, 105, 95] * 20)
    wild = np.concatenate([calm, np.full(20, 100_000.0)])
    assert abs(expected(wild).median - expected(calm).median) <= 5
    assert expected(wild).sigma < 2 * expected(calm).sigma


def test_one_bad_hour_of_the_past_does_not_move_the_usual_rate() -> None:
    trials = [np.full(100, 50.0)] * 4
    hits = [np.full(100, 1.0)] * 3 + [np.full(100, 40.0)]
    rate, behind = usual_rate(hits, trials)
    assert rate == pytest.approx(0.02)
    assert behind == 20_000


def test_wilson_bounds_are_the_published_ones() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20, 95 %
    assert wilson(81, 263, 1.959964) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, 1.959964) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_faults_on_seasonal_traffic_are_found_without_false_alarms() -> None:
    days, first = 4, 2
    faults = faults_of(first, days - first, 14, 7)
    outcomes, false, _ = compare(
        faults, judged(traffic(days, 50, 7, faults), SETTINGS, first * DAY), SETTINGS, days - first
    )
    for each in outcomes:
        print(f"{each.kind}: {each.found} of {each.faults}, median {each.median:.0f} s, worst {each.worst:.0f} s")
    print(f"false alarms a day: {false:.2f}")
    assert sum(each.found for each in outcomes) >= 0.9 * len(faults)
    assert all(each.found for each in outcomes)
    assert false <= 1


def test_a_source_without_ctr_partner_is_judged_alone() -> None:
    counts: Mapping[tuple[str, str], Integers] = {
        key: row for key, row in traffic(3, 50, 3, [Fault("stop", AT, AT + 60)]).items() if key[0] == "impressions"
    }
    assert {key[1] for key in counts} >= {EVENTS, ARRIVED}
    assert {each.kind for _, each in judged(counts, SETTINGS, AT - 300, AT + 300)} == {"stop"}
