"""One evaluation: load, decide, save, deliver, record.

Belongs here: the order of these steps, which is what makes delivery at least once. Not here: any of the steps.

What is to be sent is committed, and marked as being sent, before anything is sent; what became of it is committed
after. A process that dies in between leaves its messages marked; when the mark has run out they are sent again
under the same keys.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ad_lakehouse.alerts import outbox, store
from ad_lakehouse.alerts.channels import Channel, build_channels, redactor
from ad_lakehouse.alerts.conditions import Condition
from ad_lakehouse.alerts.http import Answer, Http
from ad_lakehouse.alerts.machine import step
from ad_lakehouse.alerts.redaction import Redactor
from ad_lakehouse.alerts.routes_file import load_routes
from ad_lakehouse.alerts.state import Delivery, Ledger, Notification
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import AlertSettings

ATTEMPTS = 8  # at a commit that others disturb; evaluations are rare, so two in a row are
UNDELIVERED = timedelta(minutes=15)  # a channel that fails for longer stops the heartbeat


class AlertStateBusy(LakehouseError):
    """Other evaluations kept committing; nothing was told twice, the next evaluation goes on."""


@dataclass(frozen=True)
class EvaluationReport:
    """What one evaluation did."""

    notifications: tuple[Notification, ...]  # new in this evaluation
    delivered: tuple[Delivery, ...]
    retried: tuple[Delivery, ...]  # failed now, will be tried again
    failed: tuple[Delivery, ...]  # failed for good now
    open: int  # alerts that are open
    pending: int  # deliveries still to be made
    version: int | None  # of ops.alerts; None: it does not exist
    wrote: bool
    heartbeat: bool | None  # None: no address, or withheld since a channel has been failing

    @property
    def summary(self) -> str:
        return (
            f"{self.open} open, {len(self.notifications)} new notifications, {len(self.delivered)} delivered, "
            f"{len(self.retried)} to be tried again, {len(self.failed)} failed, {self.pending} waiting"
        )


def evaluate(
    lake: Lake,
    conditions: Iterable[Condition],
    settings: AlertSettings,
    now: datetime,
    *,
    scope: Collection[str] | None = None,
) -> EvaluationReport:
    """Tells what changed, once, and delivers what is due.

    `conditions` is everything that is wrong now of the kinds in `scope` (None: of every kind); an open alert in
    scope that is not among them is over. A failing channel is in the report and never raises.
    Raises `ConfigurationError` for a bad routes file, `AlertStateBusy`, and what the lake raises.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    now = now.astimezone(UTC)
    routes = load_routes(settings.routes)
    channels = build_channels(settings, routes)
    redact = redactor(settings)
    seen = [_without_secrets(each, redact) for each in conditions]
    with redact.over_logs():
        for _ in range(ATTEMPTS):
            before = store.load(lake)
            decided = step(before.ledger.states, seen, now, routes.machine_policy(), scope=scope)
            ledger = Ledger(decided.states, before.ledger.deliveries)
            ledger = outbox.route_unrouted(ledger, routes, list(channels), now)
            deliveries = dict(ledger.deliveries)
            for each in decided.notifications:
                deliveries[each.key] = outbox.enqueue(
                    deliveries.get(each.key, ()), each, decided.states.get(each.key), routes, list(channels), now
                )
            ledger = replace(ledger, deliveries=deliveries)
            due = outbox.due(ledger, channels, now)
            ledger = outbox.claim(ledger, due, now)
            if ledger != before.ledger:
                ledger = outbox.prune(ledger, now)
            try:
                stored = store.save(lake, before, ledger, {"told": len(decided.notifications), "sending": len(due)})
            except store.StateMoved:
                continue
            break
        else:
            raise AlertStateBusy(f"{store.NAME}: other evaluations kept writing it.", remedy="Run one at a time.")
        sent = deliver(ledger, due, channels)
        after = record(lake, stored, due, sent, now) if due else stored
        return _report(settings, channels, redact, before, after, decided.notifications, due, now)


def deliver(ledger: Ledger, due: Iterable[Delivery], channels: dict[str, Channel]) -> dict[str, outbox.Outcome]:
    """Sends, in order; after a failure nothing more of that chain, or of that channel when it is the channel's."""
    # Ends well before the mark runs out, so that no second evaluation sends the same.
    end = time.monotonic() + outbox.LEASE.total_seconds() / 2
    outcomes: dict[str, outbox.Outcome] = {}
    references: dict[tuple[str, str], str] = {}
    stopped: set[object] = set()
    for delivery in due:
        chain = (delivery.notification.key, delivery.channel)
        if delivery.channel in stopped or chain in stopped or time.monotonic() > end:
            continue
        firing = (delivery.notification.firing, delivery.channel)
        reference = references.get(firing) or outbox.reference_of(ledger, delivery)
        outcome = channels[delivery.channel].send(delivery, reference)
        outcomes[delivery.id] = outcome
        if outcome.reference:
            references[firing] = outcome.reference
        if outcome.result == "retry":
            stopped.add(delivery.channel if outcome.holds_channel else chain)
    return outcomes


def record(
    lake: Lake, stored: store.Stored, due: Iterable[Delivery], sent: dict[str, outbox.Outcome], now: datetime
) -> store.Stored:
    """Commits what became of the deliveries, on top of whatever was committed meanwhile."""
    claimed = list(due)
    for _ in range(ATTEMPTS):
        try:
            settled = outbox.settle(stored.ledger, claimed, sent, now)
            return store.save(lake, stored, settled, {"sent": len(sent)})
        except store.StateMoved:
            stored = store.load(lake)
    raise AlertStateBusy(f"{store.NAME}: other evaluations kept writing it.", remedy="Run one at a time.")


def undelivered(ledger: Ledger, configured: Collection[str], now: datetime) -> bool:
    """Whether a channel has been failing for a while, or refused the last thing it was sent."""
    last: dict[str, Delivery] = {}
    for deliveries in ledger.deliveries.values():
        for each in deliveries:
            if each.channel not in configured:
                continue
            if each.status == "pending" and each.attempts and now - each.notification.at > UNDELIVERED:
                return True
            if each.status != "pending" and (
                each.channel not in last or each.notification.at >= last[each.channel].notification.at
            ):
                last[each.channel] = each
    return any(each.status == "failed" for each in last.values())


def _report(
    settings: AlertSettings,
    channels: Collection[str],
    redact: Redactor,
    before: store.Stored,
    after: store.Stored,
    notifications: Iterable[Notification],
    due: Collection[Delivery],
    now: datetime,
) -> EvaluationReport:
    everything = [each for deliveries in after.ledger.deliveries.values() for each in deliveries]
    ids = {each.id for each in due}
    tried = [each for each in everything if each.id in ids]
    heartbeat = None
    if settings.heartbeat_url and not undelivered(after.ledger, channels, now):
        answer = Http(settings.timeout_seconds, redact).send("GET", settings.heartbeat_url.get_secret_value())
        heartbeat = isinstance(answer, Answer) and answer.status < 300
    return EvaluationReport(
        tuple(notifications),
        tuple(each for each in tried if each.status == "delivered"),
        tuple(each for each in tried if each.status == "pending" and each.retry_at),
        tuple(each for each in tried if each.status == "failed"),
        sum(state.status == "open" for state in after.ledger.states.values()),
        sum(each.status == "pending" for each in everything),
        after.version,
        after.version != before.version,
        heartbeat,
    )


def _without_secrets(condition: Condition, redact: Redactor) -> Condition:
    return replace(condition, title=redact(condition.title), text=redact(condition.text))
