"""PagerDuty Events API v2.

Belongs here: its requests. Not here: when to send.
Source: https://developer.pagerduty.com/docs/events-api-v2-overview
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from ad_lakehouse.alerts.http import Http
from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.state import Delivery, Notification
from ad_lakehouse.alerts.wording import shortened

LONGEST_KEY = 255
LONGEST_SUMMARY = 1024


@dataclass(frozen=True)
class PagerDuty:
    """Triggers and resolves under the alert's own key, so that PagerDuty merges what belongs together."""

    name: str
    http: Http
    url: str
    routing_key: str = field(repr=False)
    lake: str

    def send(self, delivery: Delivery, reference: str | None) -> Outcome:  # noqa: ARG002  # the key is enough
        body = event(delivery.notification, self.lake) | {"routing_key": self.routing_key}
        return self.http.outcome(self.http.send("POST", self.url, json=body))


def event(notification: Notification, lake: str) -> dict[str, Any]:
    """The event without its routing key. Our severities are three of PagerDuty's four and keep their names."""
    known = {"event_action": "resolve", "dedup_key": dedup_key(notification.key, lake)}
    if notification.event == "resolve":
        return known
    return known | {
        "event_action": "trigger",
        "client": lake,
        "payload": {
            "summary": shortened(notification.title, LONGEST_SUMMARY),
            "source": notification.asset or notification.source or lake,
            "severity": notification.severity,
            "timestamp": notification.at.isoformat(timespec="milliseconds"),
            "component": notification.source,
            "group": notification.owner,
            "class": notification.key.partition("/")[0],
            "custom_details": {
                "text": shortened(notification.text, 20_000),
                "reason": notification.reason,
                "key": notification.key,
                "id": notification.id,
                "open since": notification.opened_at.isoformat(timespec="seconds"),
            },
        },
    }


def dedup_key(key: str, lake: str) -> str:
    """The lake's name and the alert's key; a too long one ends in its hash."""
    whole = f"{lake}/{key}"
    if len(whole) <= LONGEST_KEY:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:32]
    return f"{whole[: LONGEST_KEY - len(digest) - 1]}#{digest}"
