"""Any other service, through an apprise address (https://github.com/caronc/apprise).

Belongs here: sorting what apprise reports. Not here: services with a module of their own.
"""

import re
from dataclasses import dataclass, field

from ad_lakehouse.alerts.http import PASSING, Http
from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.state import Delivery, Event, Severity
from ad_lakehouse.alerts.wording import shortened

WORDS: dict[Event, str] = {"resolve": "Resolved: ", "escalate": "Escalated: ", "remind": "Still open: "}
KIND: dict[Severity, str] = {"warning": "warning", "error": "failure", "critical": "failure"}


@dataclass(frozen=True)
class AppriseService:
    """One apprise address. Apprise tells success or a log line: a 4xx in it is final, anything else is tried again."""

    name: str
    http: Http
    url: str = field(repr=False)
    lake: str

    def send(self, delivery: Delivery, reference: str | None) -> Outcome:  # noqa: ARG002  # apprise changes nothing
        import apprise  # loading it takes 0.2 s, which users of other channels need not pay

        notification = delivery.notification
        over = notification.event == "resolve"
        word = WORDS.get(notification.event, "")
        facts = [notification.severity, notification.asset, notification.owner, f"{self.lake} {notification.id}"]
        body = f"{notification.text}\n\n{' · '.join(fact for fact in facts if fact)}"
        with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as log:
            service = apprise.Apprise.instantiate(self.url)
            if service is None:
                return Outcome("failed", "apprise does not know this address")
            service.socket_connect_timeout = service.socket_read_timeout = self.http.timeout
            sent = bool(
                service.notify(
                    title=word + notification.title, body=body,
                    notify_type="success" if over else KIND[notification.severity],
                )
            )  # fmt: skip
            said = " ".join(self.http.redact(log.getvalue()).split())
        if sent:
            return Outcome("delivered")
        status = re.search(r"error=(\d{3})\b", said)
        code = int(status[1]) if status else 0
        final = 400 <= code < 500 and code not in PASSING
        error = shortened(said or "apprise could not send it", 200)
        return Outcome("failed" if final else "retry", error, holds_channel=not code)
