"""A generic webhook: one JSON document for each event; docs/alerts.md holds its schema.

Belongs here: the document. Not here: when to send.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ad_lakehouse.alerts.http import Http
from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.state import Delivery, Notification

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Webhook:
    """POSTs the document; a repeated delivery has the same `Idempotency-Key`."""

    name: str
    http: Http
    url: str = field(repr=False)
    lake: str

    def send(self, delivery: Delivery, reference: str | None) -> Outcome:  # noqa: ARG002  # the key is enough
        headers = {"Idempotency-Key": quote(delivery.notification.id, safe="/:@.~")}  # headers hold ASCII only
        body = document(delivery.notification, self.lake)
        return self.http.outcome(self.http.send("POST", self.url, json=body, headers=headers))


def document(notification: Notification, lake: str) -> dict[str, Any]:
    return {
        "version": SCHEMA_VERSION,
        "id": notification.id,
        "key": notification.key,
        "event": notification.event,
        "status": "resolved" if notification.event == "resolve" else "open",
        "reason": notification.reason,
        "severity": notification.severity,
        "title": notification.title,
        "text": notification.text,
        "owner": notification.owner,
        "asset": notification.asset,
        "source": notification.source,
        "level": notification.level,
        "sequence": notification.sequence,
        "opened_at": notification.opened_at.isoformat(timespec="milliseconds"),
        "at": notification.at.isoformat(timespec="milliseconds"),
        "lake": lake,
    }
