"""A process that dies while it tells of an alert loses nothing, and repeats at most one message under its key."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alert_receiver import Answer, Receiver

from ad_lakehouse.alerts import Condition, EvaluationReport, evaluate, list_alerts
from ad_lakehouse.alerts.outbox import LEASE
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import AlertSettings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PATHS = {"slack": "/slack/api/chat.postMessage", "pagerduty": "/v2/enqueue", "webhook": "/hook"}
PROGRAM = """
import sys
from datetime import datetime
from ad_lakehouse.alerts import Condition, evaluate
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import AlertSettings
lake, settings = Lake(sys.argv[1]), AlertSettings.model_validate_json(sys.argv[2])
now = datetime.fromisoformat(sys.argv[3])
late = [Condition(key, "error", "late", "late", "", "a", "s", now) for key in sys.argv[4:]]
print("ready", flush=True)
sys.stdin.readline()
evaluate(lake, late, settings, now)
print("done", flush=True)
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def given(receiver: Receiver, channel: str) -> dict[str, str]:
    return {
        "slack": {"slack_bot_token": "xoxb-1", "slack_channel": "#data", "slack_api_url": f"{receiver.url}/slack/api"},
        "pagerduty": {"pagerduty_routing_key": "k", "pagerduty_url": f"{receiver.url}/v2/enqueue"},
        "webhook": {"webhook_url": f"{receiver.url}/hook"},
    }[channel]


def started(lake: Lake, settings: dict[str, str], *keys: str) -> subprocess.Popen[str]:
    """A process that evaluates as soon as a line is written to it."""
    text = "{" + ", ".join(f'"{name}": "{value}"' for name, value in settings.items()) + "}"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, lake.root, text, NOW.isoformat(), *keys],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def again(lake: Lake, settings: dict[str, str], now: datetime, *keys: str) -> EvaluationReport:
    late = [Condition(key, "error", "late", "late", "", "a", "s", now) for key in keys]
    return evaluate(lake, late, AlertSettings.model_validate(settings), now)


def told_as(channel: str, body: dict) -> str:
    """The stable key of a message."""
    if channel == "slack":
        return str(body["metadata"]["event_payload"]["id"])
    return str(body["id"] if channel == "webhook" else body["dedup_key"])


@pytest.mark.parametrize("channel", PATHS)
def test_killed_between_delivery_and_recording_sends_one_duplicate_under_the_same_key(
    lake: Lake, receiver: Receiver, channel: str
) -> None:
    settings = given(receiver, channel)
    process = started(lake, settings, "freshness/clicks")

    def kill() -> None:
        process.kill()
        process.wait(30)

    receiver.script(PATHS[channel], Answer(first=kill))
    go(process)
    assert process.wait(30) == -signal.SIGKILL
    assert len(receiver.at(PATHS[channel])) == 1

    assert again(lake, settings, NOW + LEASE / 2, "freshness/clicks").delivered == (), "it may still be at work"
    assert len(again(lake, settings, NOW + LEASE, "freshness/clicks").delivered) == 1
    first, second = (told_as(channel, body) for body in receiver.bodies(PATHS[channel]))
    assert first == second
    again(lake, settings, NOW + 2 * LEASE, "freshness/clicks")
    assert len(receiver.at(PATHS[channel])) == 2
    again(lake, settings, NOW + 3 * LEASE)
    assert list_alerts(lake) == []


@pytest.mark.parametrize("milliseconds", [0, 5, 15, 30, 60, 120])
def test_killed_at_any_moment_loses_nothing(lake: Lake, receiver: Receiver, milliseconds: int) -> None:
    settings = given(receiver, "webhook")
    keys = [f"freshness/{name}" for name in "abcdef"]
    process = started(lake, settings, *keys)
    go(process)
    time.sleep(milliseconds / 1000)  # the moment of death is what is tried here, nothing is waited for
    process.kill()
    process.wait(30)
    for minutes in (3, 6):
        again(lake, settings, NOW + timedelta(minutes=minutes), *keys)
    told = Counter(each["key"] for each in receiver.bodies("/hook"))
    assert set(told) == set(keys)
    assert max(told.values()) <= 2
    assert len({each["id"] for each in receiver.bodies("/hook")}) == len(keys), "repeated under the same key"
    assert not [each for alert in list_alerts(lake) for each in (*alert.pending, *alert.failed)]
