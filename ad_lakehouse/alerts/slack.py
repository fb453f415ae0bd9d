"""Slack: by bot token (one message that changes in place) or by incoming webhook (a new message each time).

Belongs here: Slack's requests and its errors. Not here: when to send.
Sources: https://docs.slack.dev/reference/methods/chat.postMessage, chat.update, and
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from ad_lakehouse.alerts.http import Answer, Bearer, Http
from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.state import Delivery, Notification
from ad_lakehouse.alerts.wording import shortened

# Errors that Slack reports with HTTP 200 and that are over by themselves; all others need a person.
PASSING = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
# The message to change is gone or locked: a new one takes its place.
UNCHANGEABLE = {"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"}
LONGEST_TEXT = 2_900  # a section block holds 3,000 characters
SIGNS = {"warning": ":large_yellow_circle:", "error": ":red_circle:", "critical": ":rotating_light:"}


@dataclass(frozen=True)
class SlackBot:
    """chat.postMessage, then chat.update of the same message; escalations and reminders also reply in its thread,
    since Slack tells nobody of a changed message."""

    name: str
    http: Http
    api_url: str
    token: str = field(repr=False)
    channel: str
    lake: str

    def send(self, delivery: Delivery, reference: str | None) -> Outcome:
        notification = delivery.notification
        if reference is None:
            return self._post(notification)
        channel, _, stamp = reference.partition(":")
        outcome = Outcome("delivered", reference=reference)
        if notification.event != "remind":
            changed = message(notification, self.lake) | {"channel": channel, "ts": stamp}
            outcome, said = self._call("chat.update", changed)
            if outcome.result == "failed" and said.get("error") in UNCHANGEABLE:
                return self._post(notification)
            outcome = replace(outcome, reference=reference)
        if outcome.result == "delivered" and notification.event in ("escalate", "remind"):
            reply = {"channel": channel, "thread_ts": stamp, "reply_broadcast": True, "text": headline(notification)}
            replied, _ = self._call("chat.postMessage", reply)
            outcome = replace(replied, reference=reference)
        return outcome

    def _post(self, notification: Notification) -> Outcome:
        outcome, said = self._call("chat.postMessage", message(notification, self.lake) | {"channel": self.channel})
        if outcome.result != "delivered" or not said.get("ts"):
            return outcome
        # chat.update wants the channel's id, which only the answer tells.
        return replace(outcome, reference=f"{said.get('channel', self.channel)}:{said['ts']}")

    def _call(self, method: str, body: dict[str, Any]) -> tuple[Outcome, dict[str, Any]]:
        answer = self.http.send("POST", f"{self.api_url.rstrip('/')}/{method}", json=body, auth=Bearer(self.token))
        outcome = self.http.outcome(answer)
        if not isinstance(answer, Answer) or outcome.result != "delivered":
            return outcome, {}
        try:
            said = json.loads(answer.text)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            return Outcome("retry", f"Slack {method}: the answer is not JSON", holds_channel=True), {}
        if said.get("ok") is True:
            return outcome, said
        error = self.http.redact(shortened(f"Slack {method}: {said.get('error', 'unknown error')}", 200))
        if said.get("error") in PASSING:
            return Outcome("retry", error, retry_after=answer.retry_after, holds_channel=True), said
        return Outcome("failed", error), said


@dataclass(frozen=True)
class SlackWebhook:
    """An incoming webhook: each event is a message of its own."""

    name: str
    http: Http
    url: str = field(repr=False)
    lake: str

    def send(self, delivery: Delivery, reference: str | None) -> Outcome:  # noqa: ARG002  # nothing to refer to
        body = message(delivery.notification, self.lake)
        return self.http.outcome(self.http.send("POST", self.url, json=body))


def headline(notification: Notification) -> str:
    """One line, as it stands in a phone's notification."""
    word = {"fire": "", "update": "", "escalate": "Escalated: ", "remind": "Still open: ", "resolve": "Resolved: "}
    sign = ":white_check_mark:" if notification.event == "resolve" else SIGNS[notification.severity]
    reason = "" if notification.reason == "new" else f" ({escaped(notification.reason)})"
    return f"{sign} {word[notification.event]}*{escaped(shortened(notification.title, 300))}*{reason}"


def message(notification: Notification, lake: str) -> dict[str, Any]:
    """Text and blocks of a message; `metadata` carries the stable key."""
    head = headline(notification)
    since = f"since {notification.opened_at:%Y-%m-%d %H:%M} UTC"
    facts = [notification.severity, notification.asset, notification.owner, since, lake]
    context = escaped(shortened(" · ".join(fact for fact in facts if fact), 500))
    body = shortened(f"{head}\n{escaped(notification.text)}", LONGEST_TEXT)
    return {
        "text": head,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": body}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": context}]},
        ],
        "metadata": {
            "event_type": "ad_lakehouse_alert",
            "event_payload": {"key": notification.key, "id": notification.id, "event": notification.event},
        },
        "unfurl_links": False,
    }


def escaped(text: str) -> str:
    """The three characters that Slack reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
