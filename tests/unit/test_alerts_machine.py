"""What is told and when: tables of cases, and properties over random histories."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ad_lakehouse.alerts.conditions import Condition
from ad_lakehouse.alerts.machine import step
from ad_lakehouse.alerts.state import SEVERITIES, AlertState, Notification, Policy, Severity

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def condition(key: str = "freshness/clicks", severity: Severity = "error", parent: str | None = None) -> Condition:
    name = key.partition("/")[2]
    return Condition(key, severity, f"{name} is late", f"{name}: 3 h", "data", name, name, START, parent)


def play(
    history: Sequence[Sequence[Condition]],
    policy: Policy | None = None,
    every: timedelta = MINUTE,
    scope: set[str] | None = None,
) -> list[list[str]]:
    """`event key severity` of each evaluation, one a minute."""
    policy, states, told = policy or Policy(), {}, []
    for tick, conditions in enumerate(history):
        states, notifications = step(states, conditions, START + tick * every, policy, scope=scope)
        told.append([f"{each.event} {each.key} {each.severity}" for each in notifications])
    return told


LATE, WARN, CRITICAL = condition(), condition(severity="warning"), condition(severity="critical")
FIRE, RESOLVE = "fire freshness/clicks error", "resolve freshness/clicks error"
RAISED = ["fire freshness/clicks warning"], ["escalate freshness/clicks critical"]


@pytest.mark.parametrize(
    ("history", "policy", "expected"),
    [
        pytest.param([[], []], Policy(), [[], []], id="nothing wrong, nothing told"),
        pytest.param([[LATE]] * 4, Policy(), [[FIRE], [], [], []], id="told once while it lasts"),
        pytest.param([[LATE], [], []], Policy(), [[FIRE], [RESOLVE], []], id="resolved once"),
        pytest.param([[LATE], [], [LATE]], Policy(), [[FIRE], [RESOLVE], [FIRE]], id="fires anew after its end"),
        pytest.param([[WARN], [CRITICAL], [CRITICAL]], Policy(), [*RAISED, []], id="escalates when it gets worse"),
        pytest.param([[WARN], [CRITICAL], [WARN], [CRITICAL]], Policy(), [*RAISED, [], []], id="milder is not told"),
        pytest.param([[WARN, CRITICAL]], Policy(), [["fire freshness/clicks critical"]], id="one key, gravest counts"),
        pytest.param(
            [[LATE]] * 4, Policy(fire_after_evaluations=3), [[], [], [FIRE], []], id="held off for 3 evaluations"
        ),
        pytest.param(
            [[LATE], [LATE], [], [LATE], [LATE], [LATE]],
            Policy(fire_after_evaluations=3),
            [[], [], [], [], [], [FIRE]],
            id="hold-off starts anew after a gap",
        ),
        pytest.param([[LATE]] * 4, Policy(fire_after=2 * MINUTE), [[], [], [FIRE], []], id="held off for 2 minutes"),
        pytest.param(
            [[LATE], [], [], [], []], Policy(resolve_after=2 * MINUTE), [[FIRE], [], [], [RESOLVE], []],
            id="resolved after 2 minutes of quiet",
        ),
        pytest.param(
            [[LATE], [], [LATE], [], [], []], Policy(resolve_after=2 * MINUTE), [[FIRE], [], [], [], [], [RESOLVE]],
            id="quiet counts from the last time it was seen",
        ),
        pytest.param(
            [[LATE]] * 6, Policy(escalate_after=2 * MINUTE, levels=2),
            [[FIRE], [], ["escalate freshness/clicks error"], [], ["escalate freshness/clicks error"], []],
            id="unacknowledged: one step of the route after another, then no more",
        ),
        pytest.param([[LATE]] * 6, Policy(escalate_after=2 * MINUTE), [[FIRE], [], [], [], [], []], id="no steps"),
        pytest.param(
            [[LATE]] * 5, Policy(remind_after=2 * MINUTE),
            [[FIRE], [], ["remind freshness/clicks error"], [], ["remind freshness/clicks error"]],
            id="reminders when the policy says",
        ),
        pytest.param(
            [[LATE], []] * 3 + [[LATE]] * 2 + [[]] * 5,
            Policy(flap_count=3, flap_window=timedelta(hours=1), flap_settle=4 * MINUTE),
            [[FIRE], [RESOLVE], [FIRE], [RESOLVE], [FIRE], [], [], [], [], [], [], [], [RESOLVE]],
            id="flapping: stays open until quiet",
        ),
    ],
)  # fmt: skip
def test_told_once_at_the_right_time(history: list, policy: Policy, expected: list) -> None:
    assert play(history, policy) == expected


def test_an_evaluation_that_changes_nothing_gives_equal_states() -> None:
    states, _ = step({}, [LATE], START, Policy())
    later = replace(LATE, text="clicks: 4 h", observed_at=START + MINUTE)
    again, told = step(states, [later], START + MINUTE, Policy())
    assert again == states
    assert told == []


def test_acknowledged_or_snoozed_is_not_escalated_by_time_until_it_gets_worse() -> None:
    policy = Policy(escalate_after=MINUTE, remind_after=MINUTE, levels=1)
    states, _ = step({}, [WARN], START, policy)
    quiet = {
        "acknowledged": {WARN.key: replace(states[WARN.key], acknowledged_at=START)},
        "snoozed": {WARN.key: replace(states[WARN.key], snoozed_until=START + timedelta(hours=1))},
    }
    for name, handled in quiet.items():
        states, told = step(handled, [WARN], START + 10 * MINUTE, policy)
        assert told == [], name
        states, told = step(states, [CRITICAL], START + 11 * MINUTE, policy)
        assert [(each.event, each.severity) for each in told] == [("escalate", "critical")], name
    assert states[WARN.key].acknowledged_at is None


def test_an_alert_of_a_kind_not_looked_at_stays_as_it_is() -> None:
    check = replace(condition("check/marts.campaign_daily/not_null"), asset="marts.campaign_daily")
    states, _ = step({}, [LATE, check], START, Policy())
    same, told = step(states, [LATE], START + MINUTE, Policy(), scope={"freshness"})
    assert (same, told) == (states, [])
    _, told = step(states, [LATE], START + MINUTE, Policy(), scope={"freshness", "check"})
    assert [each.event for each in told] == ["resolve"]


SOURCE = condition("freshness/impressions")
MART = condition("pipeline/marts.campaign_daily", "warning", parent=SOURCE.key)
FUNNEL = condition("pipeline/marts.funnel_daily", "warning", parent=MART.key)


def test_staleness_below_a_stale_source_is_told_as_part_of_it() -> None:
    states, told = step({}, [SOURCE, MART, FUNNEL], START, Policy())
    assert [each.key for each in told] == [SOURCE.key]
    assert "marts.campaign_daily is late; marts.funnel_daily is late" in told[0].text
    assert {key: state.status for key, state in states.items()} == {
        SOURCE.key: "open", MART.key: "folded", FUNNEL.key: "folded",
    }  # fmt: skip
    assert states[FUNNEL.key].folded_into == SOURCE.key


def test_what_joins_below_an_open_alert_updates_it_once() -> None:
    assert play([[SOURCE], [SOURCE, MART], [SOURCE, MART], [SOURCE, MART, FUNNEL]]) == [
        ["fire freshness/impressions error"],
        ["update freshness/impressions error"],
        [],
        ["update freshness/impressions error"],
    ]


def test_something_graver_below_raises_the_alert_above() -> None:
    assert play([[SOURCE], [SOURCE, replace(MART, severity="critical")]])[1] == [
        "escalate freshness/impressions critical"
    ]


def test_what_is_below_has_time_to_catch_up_before_it_fires_itself() -> None:
    policy = Policy(catch_up=2 * MINUTE)
    told = play([[SOURCE, MART], [MART], [MART], [MART], [MART]], policy)
    assert told == [
        ["fire freshness/impressions error"],
        ["resolve freshness/impressions error"],
        [],
        ["fire pipeline/marts.campaign_daily warning"],
        [],
    ]
    assert play([[SOURCE, MART], [MART], [MART], [], []], policy)[2:] == [[], [], []]


def test_what_was_told_before_its_cause_keeps_its_own_end() -> None:
    assert play([[MART], [SOURCE, MART], [SOURCE], []]) == [
        ["fire pipeline/marts.campaign_daily warning"],
        ["fire freshness/impressions error"],
        ["resolve pipeline/marts.campaign_daily warning"],
        ["resolve freshness/impressions error"],
    ]


def test_a_cause_of_a_kind_not_looked_at_still_folds() -> None:
    states, _ = step({}, [SOURCE], START, Policy())
    states, told = step(states, [MART], START + MINUTE, Policy(), scope={"pipeline"})
    assert [(each.event, each.key) for each in told] == [("update", SOURCE.key)]
    assert states[MART.key].status == "folded"


def test_parents_in_a_circle_are_told_by_the_first() -> None:
    a, b = condition("freshness/a", parent="freshness/b"), condition("freshness/b", parent="freshness/a")
    own = condition("freshness/own", parent="freshness/own")
    assert play([[a, b, own], [a, b, own], []]) == [
        ["fire freshness/a error", "fire freshness/own error"],
        [],
        ["resolve freshness/a error", "resolve freshness/own error"],
    ]


KEYS = ["freshness/a", "freshness/b", "pipeline/c", "check/d"]
one = st.builds(condition, st.sampled_from(KEYS), st.sampled_from(SEVERITIES), st.sampled_from([None, *KEYS]))
histories = st.lists(
    st.tuples(
        st.lists(one, max_size=4, unique_by=lambda each: each.key),
        st.sampled_from([None, {"freshness"}, {"pipeline", "check"}]),
        st.integers(1, 40),
    ),
    max_size=25,
)
minutes = st.integers(0, 30).map(lambda count: count * MINUTE)
policies = st.builds(
    Policy,
    fire_after_evaluations=st.integers(1, 3),
    fire_after=minutes,
    resolve_after=minutes,
    escalate_after=st.none() | minutes,
    levels=st.integers(0, 2),
    remind_after=st.none() | minutes,
    catch_up=minutes,
    flap_count=st.integers(0, 4),
)


@given(histories, policies)
def test_every_fire_is_followed_by_exactly_one_resolve(history: list, policy: Policy) -> None:
    states: dict[str, AlertState] = {}
    told: list[Notification] = []
    now = START
    for conditions, scope, wait in [*history, ([], None, 1), ([], None, 60), ([], None, 60)]:
        seen = [each for each in conditions if scope is None or each.kind in scope]
        states, notifications = step(states, seen, now, policy, scope=scope)
        told += notifications
        now += wait * MINUTE
    assert max(Counter(each.id for each in told).values(), default=1) == 1
    for key in KEYS:
        open_now = False
        for each in (each for each in told if each.key == key):
            assert open_now == (each.event != "fire"), "no fire while open, nothing else while not"
            open_now = each.event != "resolve"
        assert not open_now, "everything ends when nothing is wrong"
    assert all(state.status == "closed" for state in states.values())


@given(histories)
def test_whatever_is_wrong_is_told_by_itself_or_by_its_cause(history: list) -> None:
    states: dict[str, AlertState] = {}
    policy = Policy(flap_count=0, catch_up=timedelta(0))
    for tick, (conditions, _, _) in enumerate(history):
        states, _ = step(states, conditions, START + tick * MINUTE, policy)
        for each in conditions:
            state = states[each.key]
            assert state.status in ("open", "folded")
            if state.status == "folded":
                assert states[state.folded_into or ""].status == "open"
                assert each.key in states[state.folded_into or ""].below
