"""Which days a change makes stale, as tables of cases."""

from datetime import date

import pytest

from ad_lakehouse.dbt_delta.plan import (
    EVERYTHING,
    Changed,
    Dependency,
    Plan,
    Recorded,
    Version,
    frozen,
    kept_before,
    restart_reason,
    spoken,
    stale,
)


def day(number: int) -> date:
    return date(2026, 7, number)


def days(*numbers: int) -> frozenset[date]:
    return frozenset(map(day, numbers))


VIEWS = Dependency("silver.impressions", (3, 0))
SAME_DAY = Dependency("silver.conversions", (0, 0))
LOCAL_DAY = Dependency("silver.clicks", (1, 1))
DIMENSION = Dependency("silver.campaigns", None)


@pytest.mark.parametrize(
    ("dependency", "changed", "expected"),
    [
        (SAME_DAY, days(5), days(5)),
        (SAME_DAY, days(5, 9), days(5, 9)),
        (VIEWS, days(5), days(5, 6, 7, 8)),  # a late impression may be credited by conversions of the next 3 days
        (VIEWS, days(5, 7), days(5, 6, 7, 8, 9, 10)),
        (Dependency("silver.x", (0, 2)), days(5), days(3, 4, 5)),
        (LOCAL_DAY, days(5), days(4, 5, 6)),
        (VIEWS, days(), days()),
    ],
)
def test_changed_input_day_makes_stale_the_output_days_that_read_it(
    dependency: Dependency, changed: frozenset[date], expected: frozenset[date]
) -> None:
    plan = stale([dependency], {dependency.table: Changed(changed)}, by_day=True)
    assert plan.days == expected


@pytest.mark.parametrize("window", [(0, 0), (3, 0), (0, 2), (1, 1)])
def test_days_read_and_days_made_stale_are_each_others_inverse(window: tuple[int, int]) -> None:
    dependency = Dependency("silver.x", window)
    for output in range(5, 20):
        for read in dependency.input_days(days(output)) or ():
            assert day(output) in dependency.stale_days({read})
        for other in set(days(*range(1, 25))) - set(dependency.input_days(days(output)) or ()):
            assert day(output) not in dependency.stale_days({other})


def test_changes_of_several_inputs_add_up() -> None:
    plan = stale([VIEWS, SAME_DAY], {VIEWS.table: Changed(days(1)), SAME_DAY.table: Changed(days(20))}, by_day=True)
    assert plan.days == days(1, 2, 3, 4, 20)
    assert plan.reason == ("silver.conversions changed on 2026-07-20; silver.impressions changed on 2026-07-01")


def test_one_input_read_with_two_windows_makes_the_days_of_both_stale() -> None:
    wide, narrow = Dependency("silver.x", (2, 0)), Dependency("silver.x", (0, 1))
    assert stale([wide, narrow], {"silver.x": Changed(days(10))}, by_day=True).days == days(9, 10, 11, 12)


@pytest.mark.parametrize(
    ("changed", "by_day", "expected"),
    [
        ({DIMENSION.table: Changed(days(5))}, True, None),
        ({DIMENSION.table: Changed(None, "changed")}, True, None),
        ({DIMENSION.table: Changed(days())}, True, days()),
        ({VIEWS.table: Changed(None, "has no log back to version 3")}, True, None),
        ({VIEWS.table: Changed(days(5))}, False, None),
        ({VIEWS.table: Changed(days())}, False, days()),
        ({}, True, days()),
    ],
)
def test_change_without_known_days_rebuilds_all(
    changed: dict[str, Changed], by_day: bool, expected: frozenset[date] | None
) -> None:
    assert stale([VIEWS, DIMENSION], changed, by_day=by_day).days == expected


def test_inputs_that_moved_without_a_change_are_worth_recording_and_others_are_not() -> None:
    assert stale([VIEWS], {VIEWS.table: Changed(days())}, by_day=True).advanced
    assert not stale([VIEWS], {}, by_day=True).advanced


NOW = {"silver.x": Version("a", 7)}
CODE = {"duckdb": "d"}


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (None, "never built"),
        (Recorded({"duckdb": "other"}, NOW), "code or configuration changed"),
        (Recorded(CODE, {}), "other inputs"),
        (Recorded(CODE, {"silver.y": Version("a", 7)}), "other inputs"),
        (Recorded(CODE, {"silver.x": Version("b", 7)}), "created anew"),
        (Recorded(CODE, {"silver.x": Version("a", 8)}), "set back"),
        (Recorded(CODE, {"silver.x": Version("a", 6)}), None),
        (Recorded(CODE, NOW), None),
    ],
)
def test_build_that_says_nothing_about_this_code_or_these_inputs_starts_anew(
    recorded: Recorded | None, expected: str | None
) -> None:
    reason = restart_reason(CODE, NOW, recorded)
    assert (reason is None) == (expected is None)
    assert expected is None or expected in str(reason)


@pytest.mark.parametrize(
    ("recorded", "building", "expected"),
    [
        ({"duckdb": "d"}, {"duckdb": "d", "spark": "s"}, None),  # Spark goes on where DuckDB began
        ({"duckdb": "d", "spark": "s"}, {"duckdb": "d"}, None),  # and DuckDB where Spark did
        ({"duckdb": "d", "spark": "s"}, {"duckdb": "d", "spark": "new"}, "code or configuration changed"),
        ({"duckdb": "d", "spark": "s"}, {"duckdb": "new", "spark": "s"}, "code or configuration changed"),
        ({"duckdb": "d", "spark": "s"}, {"spark": "s"}, None),  # a build by hand that knows only Spark's code
        ({"duckdb": "d"}, {"spark": "s"}, "built by duckdb, whose code this build does not know"),
        ({"spark": "s"}, {"duckdb": "d"}, "built by spark, whose code this build does not know"),
    ],
)
def test_engine_goes_on_where_another_stopped_if_they_compare_the_code_of_one_engine(
    recorded: dict[str, str], building: dict[str, str], expected: str | None
) -> None:
    reason = restart_reason(building, NOW, Recorded(recorded, NOW))
    assert reason is None if expected is None else expected in str(reason)


def test_note_of_the_time_before_spark_holds_duckdbs_code() -> None:
    assert Recorded.of({"code": "d", "inputs": {}}) == Recorded({"duckdb": "d"}, {})


@pytest.mark.parametrize(
    "note",
    [None, {}, {"code": "x"}, {"inputs": {}}, {"kind": "build", "code": "x", "inputs": {"silver.x": {"id": "a"}}}],
)
def test_note_of_an_unknown_form_is_no_recorded_build(note: dict[str, object] | None) -> None:
    assert Recorded.of(note) is None


@pytest.mark.parametrize(
    ("dependencies", "retained", "own", "by_day", "expected"),
    [
        ([VIEWS], {}, None, True, None),
        ([VIEWS], {VIEWS.table: day(10)}, None, True, day(13)),  # day 12 reads day 9, which is gone
        ([LOCAL_DAY], {LOCAL_DAY.table: day(10)}, None, True, day(11)),
        ([VIEWS, SAME_DAY], {VIEWS.table: day(10), SAME_DAY.table: day(20)}, None, True, day(20)),
        ([VIEWS], {}, day(5), True, day(5)),
        ([VIEWS], {VIEWS.table: day(10)}, day(25), True, day(25)),
        ([VIEWS, DIMENSION], {DIMENSION.table: day(10)}, None, True, EVERYTHING),
        ([VIEWS], {VIEWS.table: day(10)}, None, False, EVERYTHING),
    ],
)
def test_day_whose_inputs_are_not_all_retained_is_kept(
    dependencies: list[Dependency], retained: dict[str, date], own: date | None, by_day: bool, expected: date | None
) -> None:
    assert kept_before(dependencies, retained, own, by_day=by_day) == expected


def test_frozen_days_leave_the_plan_and_the_reason_says_so() -> None:
    plan = frozen(Plan(days(8, 9, 10, 11), "x changed"), day(10))
    assert plan.days == days(10, 11)
    assert plan.kept_before == day(10)
    assert "before 2026-07-10" in plan.reason
    assert frozen(Plan(None, "x changed"), day(10)).days is None
    assert frozen(Plan(None, "x changed"), EVERYTHING).days == days()
    assert frozen(Plan(None, "x changed"), None) == Plan(None, "x changed")


def test_few_days_are_listed_and_many_are_counted() -> None:
    assert spoken(days(2, 1)) == "2026-07-01, 2026-07-02"
    assert spoken(days(*range(1, 6))) == "5 days (2026-07-01 … 2026-07-05)"
