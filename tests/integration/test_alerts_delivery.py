"""Alerts arrive once, through a real HTTP server and a real Delta table; time is an argument."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from alert_receiver import Answer, Receiver

from ad_lakehouse.alerts import (
    Condition,
    EvaluationReport,
    acknowledge,
    evaluate,
    list_alerts,
    retry_failed,
    send_test,
    snooze,
    store,
)
from ad_lakehouse.alerts.handling import NoSuchAlert
from ad_lakehouse.alerts.machine import step
from ad_lakehouse.alerts.state import Ledger, Policy
from ad_lakehouse.alerts.store import NAME
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import AlertSettings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATE = Condition(
    "freshness/clicks", "error", "clicks: events are late", "3 h <old>", "data", "bronze.clicks", "clicks", NOW
)
WORSE = replace(LATE, severity="critical")
POST, UPDATE = "/slack/api/chat.postMessage", "/slack/api/chat.update"
PAGERDUTY, HOOK = "/v2/enqueue", "/hook/5ecret-webhook-path-0123456789"
SECRETS = ("xoxb-5ecret-bot", "5ecret-pagerduty-key", "5ecret-webhook-path-0123456789", "5ecret-heartbeat-012345")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def settings(receiver: Receiver, *channels: str, **more: Any) -> AlertSettings:
    """Settings of the named channels, all of them by default."""
    known: dict[str, dict[str, Any]] = {
        "slack": {"slack_bot_token": SECRETS[0], "slack_channel": "#data"},
        "pagerduty": {"pagerduty_routing_key": SECRETS[1]},
        "webhook": {"webhook_url": f"{receiver.url}{HOOK}"},
    }
    chosen = {name: value for each in channels or known for name, value in known[each].items()}
    addresses = {"slack_api_url": f"{receiver.url}/slack/api", "pagerduty_url": f"{receiver.url}{PAGERDUTY}"}
    return AlertSettings.model_validate({**addresses, "timeout_seconds": 5, **chosen, **more})


class Playing:
    """Evaluations of one lake, a minute apart."""

    def __init__(self, lake: Lake, settings: AlertSettings) -> None:
        self.lake, self.settings, self.now = lake, settings, NOW

    def __call__(self, *conditions: Condition, wait: timedelta = MINUTE, **more: Any) -> EvaluationReport:
        report = evaluate(self.lake, conditions, self.settings, self.now, **more)
        self.now += wait
        return report


def versions(lake: Lake) -> int:
    table = lake.open_if_exists(NAME)
    return -1 if table is None else table.version()


def test_one_breach_is_one_alert_on_every_channel_and_recovery_ends_it(lake: Lake, receiver: Receiver) -> None:
    play = Playing(lake, settings(receiver))
    assert [each.event for each in play(LATE).notifications] == ["fire"]
    for _ in range(3):
        assert not play(LATE).wrote
    play(WORSE)
    report = play()
    assert (report.open, report.pending, len(report.delivered)) == (0, 0, 3)
    assert not play().wrote

    # Slack: one message that changed, and a reply that people are notified of.
    assert [len(changes) for changes in receiver.slack_messages.values()] == [3]
    first = receiver.bodies(POST)[0]
    assert (first["channel"], first["metadata"]["event_payload"]["key"]) == ("#data", "freshness/clicks")
    assert "3 h &lt;old&gt;" in first["blocks"][0]["text"]["text"]
    assert [each["text"].split()[0] for each in receiver.bodies(UPDATE)] == [":rotating_light:", ":white_check_mark:"]
    assert [bool(each.get("thread_ts")) for each in receiver.bodies(POST)] == [False, True]
    # PagerDuty: one key.
    pages = receiver.bodies(PAGERDUTY)
    assert [each["event_action"] for each in pages] == ["trigger", "trigger", "resolve"]
    assert {each["dedup_key"] for each in pages} == {"ad-lakehouse/freshness/clicks"}
    assert [each["payload"]["severity"] for each in pages[:2]] == ["error", "critical"]
    # Webhook: the documented document and an idempotency key for each.
    assert [each.body["event"] for each in receiver.at(HOOK)] == ["fire", "escalate", "resolve"]
    assert len({each.headers["Idempotency-Key"] for each in receiver.at(HOOK)}) == 3


def test_the_webhook_document_is_the_documented_one(lake: Lake, receiver: Receiver) -> None:
    Playing(lake, settings(receiver, "webhook", name="prod"))(LATE)
    assert receiver.bodies(HOOK) == [
        {
            "version": 1,
            "id": "freshness/clicks@20260302T120000.000000Z/1",
            "key": "freshness/clicks",
            "event": "fire",
            "status": "open",
            "reason": "new",
            "severity": "error",
            "title": "clicks: events are late",
            "text": "3 h <old>",
            "owner": "data",
            "asset": "bronze.clicks",
            "source": "clicks",
            "level": 0,
            "sequence": 1,
            "opened_at": "2026-03-02T12:00:00.000+00:00",
            "at": "2026-03-02T12:00:00.000+00:00",
            "lake": "prod",
        }
    ]


def test_nothing_wrong_makes_no_table(lake: Lake, receiver: Receiver) -> None:
    report = Playing(lake, settings(receiver))()
    assert (report.version, report.wrote, versions(lake)) == (None, False, -1)
    assert list_alerts(lake) == []


SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=90))
FAILURES = {
    "500": Answer(500, "oops"),
    "503 asking to wait": Answer(503, headers={"Retry-After": "90"}),
    "429 asking to wait": Answer(429, headers={"Retry-After": "90"}),
    "429 until a date": Answer(429, headers={"Retry-After": SOON}),
    "no answer": Answer(hang=True),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize(("channel", "path"), [("slack", POST), ("pagerduty", PAGERDUTY), ("webhook", HOOK)])
def test_a_failed_delivery_is_tried_again_and_arrives(
    lake: Lake, receiver: Receiver, channel: str, path: str, failure: Answer
) -> None:
    receiver.script(path, failure)
    play = Playing(lake, settings(receiver, channel, timeout_seconds=0.2 if failure.hang else 5))
    (failed,) = play(LATE, wait=timedelta(seconds=10)).retried
    assert (failed.attempts, failed.status) == (1, "pending")
    assert failed.error
    assert list_alerts(lake)[0].pending[0].error == failed.error
    early = play(LATE, wait=3 * MINUTE)
    assert (early.retried, early.wrote, len(receiver.at(path))) == ((), False, 1), "not before its time"
    assert len(play(LATE).delivered) == 1
    first, second = receiver.at(path)
    assert first.body == second.body
    assert first.headers.get("Idempotency-Key") == second.headers.get("Idempotency-Key")
    assert play(LATE).delivered == ()


def test_retry_after_is_kept_to(lake: Lake, receiver: Receiver) -> None:
    receiver.script(HOOK, Answer(429, headers={"Retry-After": "600"}))
    play = Playing(lake, settings(receiver, "webhook"))
    assert play(LATE, wait=9 * MINUTE).retried[0].retry_at == NOW + 10 * MINUTE
    assert play(LATE).delivered == ()
    assert len(play(LATE).delivered) == 1


def test_what_arises_while_a_channel_is_down_arrives_in_order_when_it_is_up(lake: Lake, receiver: Receiver) -> None:
    receiver.stop()
    play = Playing(lake, settings(receiver))
    report = play(LATE, wait=20 * MINUTE)
    assert {each.error for each in report.retried} == {"could not connect"}
    play(WORSE, wait=20 * MINUTE)
    assert play(wait=20 * MINUTE).pending == 9
    receiver.start()
    assert len(play().delivered) == 9
    assert [each["event"] for each in receiver.bodies(HOOK)] == ["fire", "escalate", "resolve"]
    assert [each["event_action"] for each in receiver.bodies(PAGERDUTY)] == ["trigger", "trigger", "resolve"]
    assert len(receiver.bodies(UPDATE)) == 2
    assert {each["ts"] for each in receiver.bodies(UPDATE)} == set(list(receiver.slack_messages)[:1])
    assert list_alerts(lake) == []


def test_a_hanging_channel_delays_no_other_and_is_asked_once_an_evaluation(lake: Lake, receiver: Receiver) -> None:
    receiver.script(HOOK, *[Answer(hang=True)] * 3)
    play = Playing(lake, settings(receiver, "webhook", "pagerduty", timeout_seconds=0.2))
    other = [replace(LATE, key=f"lag/{name}") for name in "abc"]
    report = play(LATE, *other)
    assert len(receiver.at(HOOK)) == 1
    assert {each.channel for each in report.delivered} == {"pagerduty"}
    assert (len(report.delivered), report.pending) == (4, 4)


@pytest.mark.parametrize(
    ("channel", "path", "refusal", "reason"),
    [
        ("webhook", HOOK, Answer(404, "no such hook"), "HTTP 404: no such hook"),
        ("webhook", HOOK, Answer(301, "", {"Location": "http://127.0.0.1:9/"}), "HTTP 301 (redirects are not followed"),
        ("pagerduty", PAGERDUTY, Answer(400, f"bad {SECRETS[1]}"), "HTTP 400: bad [hidden]"),
        ("slack", POST, Answer(body='{"ok":false,"error":"channel_not_found"}'), "chat.postMessage: channel_not_found"),
    ],
)  # fmt: skip
def test_a_refusal_is_kept_with_its_reason_and_sent_again_only_on_demand(
    lake: Lake, receiver: Receiver, channel: str, path: str, refusal: Answer, reason: str
) -> None:
    receiver.script(path, refusal)
    play = Playing(lake, settings(receiver))
    report = play(LATE, wait=timedelta(days=1))
    assert len(report.delivered) == 2, "no other channel is held up"
    assert reason in str(report.failed[0].error)
    play(LATE)
    assert len(receiver.at(path)) == 1
    (listed,) = list_alerts(lake)
    assert [(each.channel, each.status) for each in listed.failed] == [(channel, "failed")]
    assert reason in str(listed.failed[0].error)
    assert retry_failed(lake) == 1
    assert [each.channel for each in play(LATE).delivered] == [channel]
    assert list_alerts(lake)[0].failed == ()


@pytest.mark.parametrize("error", ["ratelimited", "internal_error", "service_unavailable"])
def test_a_passing_error_of_slack_is_tried_again(lake: Lake, receiver: Receiver, error: str) -> None:
    receiver.script(POST, Answer(body=json.dumps({"ok": False, "error": error})))
    play = Playing(lake, settings(receiver, "slack"))
    assert error in str(play(LATE).retried[0].error)
    assert len(play(LATE).delivered) == 1


def test_a_deleted_slack_message_is_replaced_by_a_new_one(lake: Lake, receiver: Receiver) -> None:
    play = Playing(lake, settings(receiver, "slack"))
    play(LATE)
    receiver.slack_messages.clear()
    assert len(play().delivered) == 1
    assert [each["text"].split()[1] for each in receiver.bodies(POST)] == ["*clicks:", "Resolved:"]


def test_slack_webhook_and_apprise_get_a_message_each_time(lake: Lake, receiver: Receiver) -> None:
    hook, service = "/services/T00000001/B00000001/5ecretslackhook", "/5ecret-apprise-99"
    given = {
        "slack_webhook_url": f"{receiver.url}{hook}",
        "apprise_urls": [f"json://127.0.0.1:{receiver.port}{service}"],
    }
    receiver.script(service, Answer(500), Answer(404), Answer(404))
    play = Playing(lake, AlertSettings.model_validate(given))
    (retried,) = play(LATE).retried
    assert "error=500" in str(retried.error)
    report = play()
    assert ["error=404" in str(each.error) for each in report.failed] == [True, True]
    assert len(receiver.bodies(hook)) == 2
    assert retry_failed(lake, LATE.key) == 2
    assert [each.channel for each in play().delivered] == ["apprise:1", "apprise:1"]
    assert [each["type"] for each in receiver.bodies(service)[3:]] == ["failure", "success"]
    assert not stored_in(lake, "5ecret-apprise-99", "5ecretslackhook")


def stored_in(lake: Lake, *secrets: str) -> list[str]:
    """Files of the lake that hold one of the secrets, in their bytes or, since Parquet is compressed, their rows."""
    files = [path for path in Path(lake.root).rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".parquet"]
    found = [str(path) for path in files for each in secrets if each.encode() in path.read_bytes()]
    for path in files:
        if path.suffix == ".parquet":
            rows = repr(pq.read_table(path).to_pylist())
            found += [str(path) for each in secrets if each in rows]
    return found


def test_no_secret_is_in_files_logs_or_errors(
    lake: Lake, receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    configured = settings(receiver, heartbeat_url=f"{receiver.url}/{SECRETS[3]}", timeout_seconds=0.3)
    echo = " ".join(SECRETS)
    play = Playing(lake, configured)
    leaky = replace(LATE, text=f"run failed: {echo}", title=f"x {SECRETS[0]}")
    receiver.script(HOOK, Answer(500, echo), Answer(404, echo), Answer(hang=True))
    receiver.script(PAGERDUTY, Answer(400, echo), Answer(429, echo))
    receiver.script(POST, Answer(body=json.dumps({"ok": False, "error": f"bad {SECRETS[0]}"})), Answer(body=echo))
    reports = [play(leaky), play(replace(leaky, severity="critical"), wait=5 * MINUTE), play(), play()]
    receiver.stop()
    reports += [play(leaky), play(leaky)]
    trials = send_test(configured)
    seen = [repr(reports), repr(trials), repr(list_alerts(lake, closed=True)), caplog.text, *capfd.readouterr()]
    assert "urllib3" in caplog.text, "the HTTP library did log"
    for secret in SECRETS:
        assert not [text for text in seen if secret in text], secret
    assert stored_in(lake, *SECRETS) == []


def test_send_test_tells_for_each_channel_whether_it_works(receiver: Receiver, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yml"
    routes.write_text("routes:\n  - channels: [webhook, 'webhook:finance']\n")
    receiver.script(PAGERDUTY, Answer(400, "bad key"))
    configured = settings(receiver, routes=routes, heartbeat_url=f"{receiver.url}/beat")
    assert [(each.channel, each.ok, each.detail) for each in send_test(configured, NOW)] == [
        ("slack", True, "fire and resolve delivered"),
        ("pagerduty", False, "fire: HTTP 400: bad key"),
        ("webhook", True, "fire and resolve delivered"),
        ("webhook:finance", False, "a route names it, but it is not configured"),
        ("heartbeat", True, "called"),
    ]
    assert [len(each) for each in receiver.slack_messages.values()] == [2]
    assert send_test(AlertSettings()) == []


def test_the_heartbeat_beats_while_alerting_works_and_stops_when_a_channel_does_not(
    lake: Lake, receiver: Receiver
) -> None:
    play = Playing(lake, settings(receiver, "webhook", heartbeat_url=f"{receiver.url}/beat"))
    assert play().heartbeat is True
    receiver.script(HOOK, *[Answer(500)] * 2)
    assert play(LATE).heartbeat is True, "a hiccup is no death"
    assert play(LATE, wait=20 * MINUTE).heartbeat is True
    receiver.script(HOOK, Answer(500))
    assert play(LATE, wait=20 * MINUTE).heartbeat is None
    assert play(LATE).heartbeat is True
    receiver.script("/beat", Answer(500))
    assert play(LATE).heartbeat is False
    receiver.script(HOOK, Answer(403))
    assert play(WORSE).heartbeat is None, "the channel refuses"
    assert play().heartbeat is True
    assert [each.method for each in receiver.at("/beat")] == ["GET"] * 6


def test_people_acknowledge_and_snooze(lake: Lake, receiver: Receiver, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yml"
    routes.write_text(
        "policy: {escalate_after: 10m}\nroutes:\n  - channels: [webhook]\n    escalation: [[pagerduty]]\n"
    )
    play = Playing(lake, settings(receiver, routes=routes))
    with pytest.raises(NoSuchAlert, match="None is open"):
        acknowledge(lake, LATE.key, "ana", NOW)
    play(LATE)
    assert acknowledge(lake, LATE.key, "ana", play.now).acknowledged_by == "ana"
    play(LATE, wait=30 * MINUTE)
    assert not play(LATE).notifications
    with pytest.raises(LakehouseError, match="is past"):
        snooze(lake, LATE.key, NOW, play.now)
    snooze(lake, LATE.key, play.now + timedelta(hours=1), play.now)
    play()
    assert [each["event"] for each in receiver.bodies(HOOK)] == ["fire", "resolve"]
    play(LATE, wait=10 * MINUTE)
    assert [each.event for each in play(LATE).notifications] == ["escalate"], "a new firing is nobody's yet"
    assert len(receiver.bodies(PAGERDUTY)) == 1


def test_an_evaluation_of_some_kinds_leaves_the_others_alone(lake: Lake, receiver: Receiver) -> None:
    play = Playing(lake, settings(receiver, "webhook"))
    play(LATE, scope={"freshness"})
    assert not play(scope={"lag"}).wrote
    assert [each.event for each in play(scope={"freshness"}).notifications] == ["resolve"]


def test_two_evaluations_at_once_tell_once(lake: Lake, receiver: Receiver) -> None:
    configured = settings(receiver, "webhook")
    Playing(lake, configured)(replace(LATE, key="lag/first"))
    program = (
        "import sys; from datetime import datetime; from ad_lakehouse.alerts import Condition, evaluate;"
        "from ad_lakehouse.lake import Lake; from ad_lakehouse.settings import AlertSettings;"
        "now = datetime.fromisoformat(sys.argv[3]);"
        "late = [Condition(f'freshness/{n}', 'error', 't', 't', '', 'a', 's', now) for n in 'abc'];"
        "sys.stdin.readline();"
        "evaluate(Lake(sys.argv[1]), late, AlertSettings(webhook_url=sys.argv[2]), now)"
    )
    arguments = [lake.root, f"{receiver.url}{HOOK}", (NOW + MINUTE).isoformat()]
    both = [
        subprocess.Popen([sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, text=True) for _ in "ab"
    ]
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in both] == [0, 0]
    keys = [each["key"] for each in receiver.bodies(HOOK) if each["event"] == "fire"]
    assert sorted(keys) == ["freshness/a", "freshness/b", "freshness/c", "lag/first"]
    assert sum(each.state.status == "open" for each in list_alerts(lake)) == 3


def test_an_evaluation_while_another_sends_repeats_nothing_and_loses_nothing(lake: Lake, receiver: Receiver) -> None:
    configured = settings(receiver, "webhook")
    lag = replace(LATE, key="lag/ad.clicks")
    reports = []

    def meanwhile() -> None:
        reports.append(evaluate(lake, [LATE, lag], configured, NOW + MINUTE))

    receiver.script(HOOK, Answer(first=meanwhile))
    reports.append(evaluate(lake, [LATE], configured, NOW))
    assert [[each.key for each in report.notifications] for report in reports] == [[lag.key], [LATE.key]]
    assert [each["key"] for each in receiver.bodies(HOOK)] == [LATE.key, lag.key]
    assert reports[1].pending == 0
    assert [each.pending for each in list_alerts(lake)] == [(), ()]


@pytest.mark.parametrize("before", ["no table", "an empty table", "a table with rows"])
def test_of_two_writers_on_one_version_the_second_begins_anew(lake: Lake, before: str) -> None:
    if before == "an empty table":
        lake.create(NAME, store.SCHEMA)
    if before == "a table with rows":
        store.save(lake, store.load(lake), Ledger(step({}, [LATE], NOW, Policy()).states), {})
    one, two = store.load(lake), store.load(lake)
    store.save(lake, one, Ledger(step({}, [WORSE], NOW, Policy()).states), {})
    with pytest.raises(store.StateMoved):
        store.save(lake, two, Ledger(step({}, [LATE], NOW + MINUTE, Policy()).states), {})
    assert [each.state.severity for each in list_alerts(lake)] == ["critical"]
