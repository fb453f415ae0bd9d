"""Messages wait, are tried again and stay in order; none is lost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ad_lakehouse.alerts import outbox
from ad_lakehouse.alerts.conditions import Condition
from ad_lakehouse.alerts.machine import step
from ad_lakehouse.alerts.outbox import LEASE, Outcome
from ad_lakehouse.alerts.routes import Routes
from ad_lakehouse.alerts.state import Delivery, Ledger, Policy, Severity

NOW = datetime(2026, 3, 2, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DELIVERED = Outcome("delivered")
QUIET = {"match": {}, "channels": ["webhook"], "quiet_hours": {"start": "22:00", "end": "07:00"}}


def wrong(severity: Severity = "error", key: str = "freshness/clicks") -> Condition:
    return Condition(key, severity, f"{key} is late", "3 h", "data", "bronze.clicks", "clicks", NOW)


def evaluated(
    ledger: Ledger,
    conditions: list[Condition],
    now: datetime,
    routes: Routes | None = None,
    configured: tuple[str, ...] = ("webhook",),
) -> Ledger:
    """Decided and queued, as an evaluation does before it sends."""
    routes = routes or Routes()
    states, notifications = step(ledger.states, conditions, now, routes.machine_policy())
    ledger = outbox.route_unrouted(Ledger(states, ledger.deliveries), routes, configured, now)
    deliveries = dict(ledger.deliveries)
    for each in notifications:
        before = deliveries.get(each.key, ())
        deliveries[each.key] = outbox.enqueue(before, each, states[each.key], routes, configured, now)
    return replace(ledger, deliveries=deliveries)


def due(ledger: Ledger, now: datetime, *configured: str) -> list[str]:
    return [
        f"{each.notification.event} {each.notification.key} {each.channel}"
        for each in outbox.due(ledger, configured or ("webhook",), now)
    ]


def settled(ledger: Ledger, now: datetime, outcome: Outcome, channel: str = "webhook") -> Ledger:
    """The first due delivery of the channel is tried, with this outcome."""
    first = next(each for each in outbox.due(ledger, (channel,), now))
    return outbox.settle(outbox.claim(ledger, [first], now), [first], {first.id: outcome}, now)


def test_delivered_messages_are_not_due_again() -> None:
    ledger = evaluated(Ledger(), [wrong()], NOW)
    assert due(ledger, NOW) == ["fire freshness/clicks webhook"]
    assert due(settled(ledger, NOW, DELIVERED), NOW + timedelta(days=3)) == []


def test_retries_wait_longer_each_time_and_never_end() -> None:
    ledger, now, waits = evaluated(Ledger(), [wrong()], NOW), NOW, []
    for _ in range(8):
        ledger = settled(ledger, now, Outcome("retry", "HTTP 500"))
        retry_at = ledger.deliveries["freshness/clicks"][0].retry_at
        assert retry_at is not None
        assert due(ledger, retry_at - timedelta(seconds=1)) == []
        waits.append((retry_at - now).total_seconds())
        now = retry_at
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (timedelta(minutes=5), timedelta(minutes=5)),
        (timedelta(seconds=1), outbox.FIRST_RETRY),
        (timedelta(days=9), outbox.LONGEST_RETRY_AFTER),
    ],
)
def test_a_server_may_ask_for_a_longer_wait_within_reason(asked: timedelta, wait: timedelta) -> None:
    assert outbox.retry_delay(1, asked) == wait


def test_a_failing_channel_holds_its_messages_and_no_other_channel() -> None:
    both = ("webhook", "pagerduty")
    ledger = evaluated(Ledger(), [wrong()], NOW, configured=both)
    ledger = settled(ledger, NOW, Outcome("retry", "could not connect", holds_channel=True))
    ledger = evaluated(ledger, [wrong(), wrong(key="lag/ad.clicks")], NOW, configured=both)
    assert due(ledger, NOW, *both) == ["fire freshness/clicks pagerduty", "fire lag/ad.clicks pagerduty"]
    assert len(due(ledger, NOW + MINUTE, *both)) == 4


def test_a_failing_message_holds_only_its_own_alert() -> None:
    ledger = evaluated(Ledger(), [wrong()], NOW)
    ledger = settled(ledger, NOW, Outcome("retry", "HTTP 500"))
    ledger = evaluated(ledger, [wrong(), wrong(key="lag/ad.clicks")], NOW)
    assert due(ledger, NOW) == ["fire lag/ad.clicks webhook"]
    assert due(ledger, NOW + MINUTE) == ["fire freshness/clicks webhook", "fire lag/ad.clicks webhook"]


def test_a_message_refused_for_good_is_kept_and_holds_nothing() -> None:
    ledger = evaluated(Ledger(), [wrong()], NOW)
    ledger = evaluated(settled(ledger, NOW, Outcome("failed", "HTTP 404")), [], NOW + MINUTE)
    assert due(ledger, NOW + MINUTE) == ["resolve freshness/clicks webhook"]
    kept = ledger.deliveries["freshness/clicks"][0]
    assert (kept.status, kept.error) == ("failed", "HTTP 404")


def test_what_is_being_sent_is_left_alone_until_the_mark_runs_out() -> None:
    ledger = evaluated(Ledger(), [wrong()], NOW)
    ledger = outbox.claim(ledger, outbox.due(ledger, ("webhook",), NOW), NOW)
    ledger = evaluated(ledger, [], NOW + MINUTE)
    assert due(ledger, NOW + MINUTE) == []
    assert due(ledger, NOW + LEASE) == ["fire freshness/clicks webhook", "resolve freshness/clicks webhook"]


def test_quiet_hours_delay_and_lose_nothing() -> None:
    routes = Routes.model_validate({"routes": [QUIET]})
    ledger = evaluated(Ledger(), [wrong()], NOW, routes)
    assert due(ledger, NOW) == []
    ledger = evaluated(ledger, [], NOW + MINUTE, routes)
    assert due(ledger, NOW + MINUTE) == [], "the end does not overtake the beginning"
    morning = NOW + timedelta(hours=8)
    assert due(ledger, morning) == ["fire freshness/clicks webhook", "resolve freshness/clicks webhook"]


def test_the_end_of_what_was_told_does_not_wait_for_quiet_hours() -> None:
    routes = Routes.model_validate({"routes": [QUIET]})
    evening = NOW - timedelta(hours=2)
    ledger = settled(evaluated(Ledger(), [wrong()], evening, routes), evening, DELIVERED)
    assert due(evaluated(ledger, [], NOW, routes), NOW) == ["resolve freshness/clicks webhook"]


@pytest.mark.parametrize(("breaks_through", "expected"), [(True, ["fire", "escalate"]), (False, [])])
def test_critical_breaks_through_quiet_hours_when_the_policy_says(breaks_through: bool, expected: list[str]) -> None:
    routes = Routes.model_validate({"routes": [QUIET], "policy": {"critical_breaks_through": breaks_through}})
    ledger = evaluated(Ledger(), [wrong()], NOW, routes)
    ledger = evaluated(ledger, [wrong("critical")], NOW + MINUTE, routes)
    assert [line.split()[0] for line in due(ledger, NOW + MINUTE)] == expected


def test_snoozed_alerts_are_told_when_the_snooze_ends() -> None:
    end = NOW + timedelta(hours=1)
    snooze = {"match": {"asset": "bronze.*"}, "until": end.isoformat()}
    ledger = evaluated(Ledger(), [wrong()], NOW, Routes.model_validate({"snoozes": [snooze]}))
    assert due(ledger, end - MINUTE) == []
    assert due(ledger, end) == ["fire freshness/clicks webhook"]


def test_who_heard_of_the_beginning_hears_of_the_rest_after_routes_changed() -> None:
    before = Routes.model_validate({"routes": [{"channels": ["webhook"]}]})
    after = Routes.model_validate({"routes": [{"channels": ["pagerduty"]}]})
    both = ("webhook", "pagerduty")
    ledger = settled(evaluated(Ledger(), [wrong()], NOW, before, both), NOW, DELIVERED)
    assert due(evaluated(ledger, [], NOW, after, both), NOW, *both) == ["resolve freshness/clicks webhook"]
    graver = evaluated(ledger, [wrong("critical")], NOW, after, both)
    assert due(graver, NOW, *both) == ["escalate freshness/clicks webhook", "escalate freshness/clicks pagerduty"]


def test_unacknowledged_goes_to_the_next_step_too() -> None:
    routes = Routes.model_validate(
        {
            "policy": {"escalate_after": "30m"},
            "routes": [{"channels": ["webhook"], "escalation": [["pagerduty"], ["apprise:1"]]}],
        }
    )
    names, told, ledger = ("webhook", "pagerduty", "apprise:1"), [], Ledger()
    for minutes in (0, 30, 60, 90):
        now = NOW + minutes * MINUTE
        ledger = evaluated(ledger, [wrong()], now, routes, names)
        told.append([each.channel for each in ledger.deliveries["freshness/clicks"] if each.notification.at == now])
    assert told == [["webhook"], ["webhook", "pagerduty"], ["webhook", "pagerduty", "apprise:1"], []]


def test_without_a_channel_open_alerts_wait_for_one_and_ended_ones_are_kept_as_untold() -> None:
    over, still = wrong(), wrong(key="lag/ad.clicks")
    ledger = evaluated(Ledger(), [over, still], NOW, configured=())
    ledger = evaluated(ledger, [still], NOW + MINUTE, configured=())
    ledger = evaluated(ledger, [still], NOW + 2 * MINUTE, configured=("webhook",))
    assert due(ledger, NOW + 2 * MINUTE) == ["fire lag/ad.clicks webhook"]
    assert {each.status for each in ledger.deliveries[over.key]} == {"failed"}
    assert "no channel was configured" in str(ledger.deliveries[over.key][0].error)
    ledger = evaluated(ledger, [], NOW + 3 * MINUTE)
    assert due(ledger, NOW + 3 * MINUTE) == ["fire lag/ad.clicks webhook", "resolve lag/ad.clicks webhook"]


def test_a_routed_channel_that_is_not_configured_waits_and_says_so() -> None:
    routes = Routes.model_validate({"routes": [{"channels": ["pagerduty"]}]})
    ledger = evaluated(Ledger(), [wrong()], NOW, routes, configured=())
    assert ledger.deliveries["freshness/clicks"][0].error == "pagerduty is not configured"
    assert due(ledger, NOW) == []
    assert due(ledger, NOW, "pagerduty") == ["fire freshness/clicks pagerduty"]


def test_history_ends_after_a_month_and_open_alerts_never() -> None:
    ledger = evaluated(Ledger(), [wrong(), wrong(key="lag/ad.clicks")], NOW)
    for key in ("freshness/clicks", "lag/ad.clicks"):
        assert key in ledger.deliveries
        ledger = settled(ledger, NOW, DELIVERED)
    ledger = settled(evaluated(ledger, [wrong(key="lag/ad.clicks")], NOW), NOW, DELIVERED)
    later = outbox.prune(ledger, NOW + timedelta(days=31))
    assert set(later.states) == {"lag/ad.clicks"}
    assert [each.notification.event for each in later.deliveries["lag/ad.clicks"]] == ["fire"]


outcomes = st.sampled_from(
    [DELIVERED, Outcome("retry", "500"), Outcome("retry", "refused", holds_channel=True), None]
)  # None: the process died before it recorded
CONFIGURED = ("webhook", "pagerduty", "slack")
steps = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["freshness/a", "freshness/b"])),
        st.integers(1, 600),
        st.sampled_from(["warning", "critical"]),
        st.lists(outcomes, min_size=3, max_size=3),
    ),
    max_size=15,
)


@given(steps, st.booleans())
def test_nothing_is_lost_or_out_of_order_when_deliveries_fail_at_random(history: list, quiet: bool) -> None:
    routes = Routes.model_validate({"routes": [{**QUIET, "channels": CONFIGURED}] if quiet else []})
    ledger, now = Ledger(), NOW
    queued: dict[str, None] = {}
    arrived: dict[str, list[str]] = {}

    def send(answers: Mapping[str, Outcome | None]) -> Ledger:
        chosen = outbox.due(ledger, CONFIGURED, now)
        claimed = outbox.claim(ledger, chosen, now)
        stopped: set[object] = set()
        results: dict[str, Outcome] = {}
        for each in chosen:
            outcome = answers[each.channel]
            chain = (each.channel, each.notification.key)
            if each.channel in stopped or chain in stopped:
                continue
            if outcome is None or outcome.result == "delivered":
                arrived.setdefault(each.channel, []).append(each.id)
            if outcome is not None:
                results[each.id] = outcome
                if outcome.result == "retry":
                    stopped.add(each.channel if outcome.holds_channel else chain)
        died = None in answers.values()
        return claimed if died else outbox.settle(claimed, chosen, results, now)

    for keys, wait, severity, answers in history:
        ledger = evaluated(ledger, [wrong(severity, key) for key in sorted(keys)], now, routes, CONFIGURED)
        queued |= dict.fromkeys(each.id for chain in ledger.deliveries.values() for each in chain)
        ledger = send(dict(zip(CONFIGURED, answers, strict=True)))
        now += wait * MINUTE
    for _ in range(3):
        ledger = evaluated(ledger, [], now, routes, CONFIGURED)
        queued |= dict.fromkeys(each.id for chain in ledger.deliveries.values() for each in chain)
        ledger = send(dict.fromkeys(CONFIGURED, DELIVERED))
        now += timedelta(hours=12)

    assert set(queued) == {each for ids in arrived.values() for each in ids}
    for channel, ids in arrived.items():
        for key in ("freshness/a", "freshness/b"):
            first_time = list(dict.fromkeys(each for each in ids if each.startswith(key)))
            assert first_time == [each for each in queued if each.startswith(key) and each.endswith(f">{channel}")]
    deliveries: list[Delivery] = [each for chain in ledger.deliveries.values() for each in chain]
    assert {each.status for each in deliveries} <= {"delivered"}


def test_policy_of_the_routes_file_is_that_of_the_machine() -> None:
    part = {"policy": {"escalate_after": "30m"}, "routes": [{"channels": [], "escalation": [[]]}]}
    routes = Routes.model_validate(part)
    assert Routes().machine_policy() == Policy()
    assert routes.machine_policy() == Policy(escalate_after=timedelta(minutes=30), levels=1)
