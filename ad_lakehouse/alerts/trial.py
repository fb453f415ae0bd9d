"""`ad-lakehouse alerts test`: one message and its end through each channel.

Belongs here: the trial. Not here: state; nothing of it is kept.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ad_lakehouse.alerts.channels import build_channels, redactor
from ad_lakehouse.alerts.http import Answer, Http
from ad_lakehouse.alerts.routes_file import load_routes
from ad_lakehouse.alerts.state import Delivery, Notification
from ad_lakehouse.settings import AlertSettings


@dataclass(frozen=True)
class ChannelTrial:
    """How one channel took the two messages."""

    channel: str
    ok: bool
    detail: str


def send_test(settings: AlertSettings, now: datetime | None = None) -> list[ChannelTrial]:
    """Fires and resolves a test alert through every configured channel, and calls the heartbeat address.

    Channels that routes name but that are not configured are in the result as not ok. An empty list: nothing is
    configured. Raises `ConfigurationError` for a bad routes file.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    routes = load_routes(settings.routes)
    channels = build_channels(settings, routes)
    redact = redactor(settings)
    fire = Notification(
        "test/channels", "fire", "new", "warning", "Test alert of the ad lakehouse",
        "If you read this, alerts reach you here. Nothing is wrong.", "", "", "ad-lakehouse alerts test", 0,
        moment, moment, 1,
    )  # fmt: skip
    resolve = replace(fire, event="resolve", reason="end of the test", sequence=2)
    trials = []
    with redact.over_logs():
        for name, channel in channels.items():
            outcome = channel.send(Delivery(fire, name), None)
            detail = f"fire: {outcome.error}"
            if outcome.result == "delivered":
                outcome = channel.send(Delivery(resolve, name), outcome.reference)
                detail = "fire and resolve delivered" if outcome.result == "delivered" else f"resolve: {outcome.error}"
            trials.append(ChannelTrial(name, outcome.result == "delivered", detail))
        named = {each for route in routes.routes for each in route.reaches(len(route.escalation))}
        trials += [
            ChannelTrial(name, False, "a route names it, but it is not configured")
            for name in sorted(named - channels.keys())
        ]
        if settings.heartbeat_url:
            http = Http(settings.timeout_seconds, redact)
            answer = http.send("GET", settings.heartbeat_url.get_secret_value())
            outcome = http.outcome(answer)
            said = "called" if isinstance(answer, Answer) and outcome.result == "delivered" else str(outcome.error)
            trials.append(ChannelTrial("heartbeat", outcome.result == "delivered", said))
    return trials
