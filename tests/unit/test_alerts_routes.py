"""Routes, quiet hours, and errors of the routes file that say where and what to do."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ad_lakehouse.alerts.channels import build_channels
from ad_lakehouse.alerts.routes import QuietHours, Routes
from ad_lakehouse.alerts.routes_file import EXAMPLE, load_routes
from ad_lakehouse.alerts.state import Notification
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import AlertSettings

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOLD = Notification(
    "freshness/clicks", "fire", "new", "error", "t", "t", "marketing", "marts.campaign_daily", "clicks", 0, AT, AT, 1
)
NIGHT = {"start": "22:00", "end": "07:00"}
CONFIGURED = ["slack", "slack:#marketing", "webhook"]


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, True),
        ({"owner": "marketing"}, True),
        ({"owner": "finance"}, False),
        ({"asset": "marts.*"}, True),
        ({"asset": "bronze.*"}, False),
        ({"severity": "error"}, True),
        ({"severity": "critical"}, False),
        ({"key": "freshness/*"}, True),
        ({"owner": "marketing", "asset": "bronze.*"}, False),
    ],
)
def test_a_route_counts_when_all_it_asks_for_holds(match: dict[str, str], hit: bool) -> None:
    routes = Routes.model_validate({"routes": [{"match": match, "channels": ["pagerduty"]}]})
    assert routes.channels(TOLD, CONFIGURED) == (["pagerduty"] if hit else ["slack", "webhook"])


def test_all_matching_routes_count_and_an_empty_one_mutes() -> None:
    two = [{"channels": ["slack:#marketing", "webhook"]}, {"channels": ["webhook", "pagerduty"]}]
    assert Routes.model_validate({"routes": two}).channels(TOLD, CONFIGURED) == [
        "slack:#marketing", "webhook", "pagerduty",
    ]  # fmt: skip
    assert Routes.model_validate({"routes": [{"channels": []}]}).channels(TOLD, CONFIGURED) == []


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (NIGHT, "2026-03-02T21:59:00Z", None),
        (NIGHT, "2026-03-02T22:00:00Z", "2026-03-03T07:00:00Z"),
        (NIGHT, "2026-03-03T06:59:00Z", "2026-03-03T07:00:00Z"),
        (NIGHT, "2026-03-03T07:00:00Z", None),
        ({"start": "12:00", "end": "13:00"}, "2026-03-03T12:30:00Z", "2026-03-03T13:00:00Z"),
        ({**NIGHT, "days": ["sun"]}, "2026-03-02T06:00:00Z", "2026-03-02T07:00:00Z"),
        ({**NIGHT, "days": ["sun"]}, "2026-03-02T23:00:00Z", None),
        ({**NIGHT, "timezone": "Europe/Vienna"}, "2026-03-02T21:30:00Z", "2026-03-03T06:00:00Z"),
        # The clock goes forward on 29 March: the night is an hour shorter.
        ({**NIGHT, "timezone": "Europe/Vienna"}, "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"),
        # The clock goes back on 25 October: the quiet ended at the first 02:30, and the second 02:15 is not quiet.
        ({**NIGHT, "end": "02:30", "timezone": "Europe/Vienna"}, "2026-10-25T01:15:00Z", None),
        ({"start": "01:00", "end": "01:00"}, "2026-03-02T12:00:00Z", "2026-03-03T01:00:00Z"),
    ],
)  # fmt: skip
def test_quiet_hours_end_by_the_local_clock(hours: dict[str, str], now: str, until: str | None) -> None:
    expected = datetime.fromisoformat(until) if until else None
    assert QuietHours.model_validate(hours).until(datetime.fromisoformat(now).astimezone(UTC)) == expected


def test_a_channel_reached_by_a_route_that_is_not_quiet_is_not_quiet() -> None:
    quiet = {"channels": ["webhook"], "quiet_hours": {"start": "00:00", "end": "00:00"}}
    assert Routes.model_validate({"routes": [quiet]}).held_until(TOLD, "webhook", AT) is not None
    both = Routes.model_validate({"routes": [quiet, {"match": {"severity": "error"}, "channels": ["webhook"]}]})
    assert both.held_until(TOLD, "webhook", AT) is None
    assert both.held_until(replace(TOLD, severity="warning"), "webhook", AT) is not None


def test_the_example_file_is_valid() -> None:
    routes = load_routes(EXAMPLE)
    assert len(routes.routes) == 2
    assert routes.routes[1].escalation == (("pagerduty",),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("routes:\n  - channels: [slack]\n    quiet_hour: {}\n", [":3: ", "routes.0.quiet_hour", "no such field"]),
        ("routes:\n  - channels: [slack, mail]\n", [":2: ", "routes.0.channels.1", "'mail'", "a channel is slack"]),
        ("policy:\n  fire_after: 10m\n  remind_after: 15\n", [":3: ", "policy.remind_after", "15", "needs a unit"]),
        ("policy:\n  remind_after: soon\n", [":2: ", "'soon'", "whole number and a unit"]),
        ("routes:\n  - match: {severity: bad}\n    channels: []\n", [":2: ", "severity", "'bad'", "'critical'"]),
        (
            "routes:\n  - channels: [slack]\n    quiet_hours: {start: '22:00', end: '07:00', timezone: Vienna}\n",
            [":3: ", "timezone", "'Vienna'", "Europe/Vienna"],
        ),
        ("routes:\n  - channels: []\n    quiet_hours: {start: 22:00, end: '07:00'}\n", [":3: ", "start", "quoted"]),
        ("policy: {}\npolicy: {fire_after: 1m}\n", [":2: ", "twice"]),
        ("snoozes:\n  - match: {}\n    until: 2026-03-01T00:00:00\n", [":3: ", "until", "timezone"]),
        ("routes: [\n", [":2: ", "not YAML"]),
        ("- a list\n", [":1: ", "not a mapping"]),
        ("routes:\n  - match: {owner: data}\n", [":2: ", "routes.0.channels", "Field required"]),
    ],
)
def test_a_wrong_routes_file_names_file_line_field_value_and_remedy(
    content: str, said: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "routes.yml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_routes(path)
    for each in [str(path), *said]:
        assert each in caught.value.message
    assert caught.value.remedy


def test_an_address_written_into_the_routes_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "routes.yml"
    path.write_text("routes:\n  - channels: ['https://hooks.slack.com/services/T0/B0/verysecret']\n")
    with pytest.raises(ConfigurationError) as caught:
        load_routes(path)
    assert "verysecret" not in str(caught.value)
    assert ":2: " in str(caught.value)


def test_a_missing_routes_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No such file.*AD_LAKEHOUSE_ALERTS__ROUTES"):
        load_routes(tmp_path / "none.yml")


def test_channels_have_the_names_that_routes_use() -> None:
    settings = AlertSettings.model_validate(
        {
            "slack_bot_token": "xoxb-1", "slack_channel": "#data", "slack_webhook_url": "https://hooks.example/x",
            "pagerduty_routing_key": "k", "pagerduty_routing_keys": {"finance": "k2"},
            "webhook_url": "https://a.example", "webhooks": {"ops": "https://b.example"},
            "apprise_urls": ["json://one", "json://two"],
        }
    )  # fmt: skip
    routes = Routes.model_validate({"routes": [{"channels": ["slack:#ads"], "escalation": [["slack:#oncall"]]}]})
    assert list(build_channels(settings, routes)) == [
        "slack", "slack:#ads", "slack:#oncall", "slack-webhook", "pagerduty", "pagerduty:finance", "webhook",
        "webhook:ops", "apprise:1", "apprise:2",
    ]  # fmt: skip
    assert "xoxb-1" not in repr(build_channels(settings, routes))
    assert build_channels(AlertSettings(), Routes()) == {}


def test_a_slack_bot_without_a_channel_is_an_error() -> None:
    settings = AlertSettings.model_validate({"slack_bot_token": "xoxb-1"})
    with pytest.raises(ConfigurationError, match="SLACK_CHANNEL"):
        build_channels(settings, Routes())


def test_a_webhook_that_is_no_web_address_is_an_error_that_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="must start with http") as caught:
        AlertSettings.model_validate({"webhook_url": "hooks.example/very-secret"})
    assert "very-secret" not in str(caught.value)
