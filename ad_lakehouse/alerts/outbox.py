"""Messages on their way: which are due, and what a result makes of them.

Belongs here: pure decisions over deliveries, with the time as an argument. Not here: sending (channels.py),
keeping (store.py).

Deliveries of one alert to one channel stay in order. A failure of the channel (refused, timed out, 429) holds
everything for that channel until it is tried again; a failure of one message (500) holds the rest of that alert
only; a permanent failure holds nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from ad_lakehouse.alerts.routes import Routes, unique
from ad_lakehouse.alerts.state import AlertState, Delivery, Event, Ledger, Notification

UNROUTED = ""  # the channel of what arose while no channel was configured
LEASE = timedelta(minutes=2)  # an evaluation that dies while it delivers blocks its messages this long
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(minutes=15)
LONGEST_RETRY_AFTER = timedelta(hours=1)  # of what a server asks for
KEEP = timedelta(days=30)

ALL_EVENTS: tuple[Event, ...] = ("fire", "escalate", "remind", "update", "resolve")
# An update is for channels that change a message in place or merge by key; PagerDuty reminds by its own rules.
EVENTS: Mapping[str, tuple[Event, ...]] = {
    "slack": ALL_EVENTS,
    "webhook": ALL_EVENTS,
    "pagerduty": ("fire", "escalate", "update", "resolve"),
    "slack-webhook": ("fire", "escalate", "remind", "resolve"),
    "apprise": ("fire", "escalate", "remind", "resolve"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt. `error` holds no secrets."""

    result: Literal["delivered", "retry", "failed"]
    error: str | None = None
    reference: str | None = None
    retry_after: timedelta | None = None
    holds_channel: bool = False


def takes(channel: str, event: Event) -> bool:
    """Whether a channel of this kind is sent such an event at all."""
    return event in EVENTS.get(channel.partition(":")[0], ALL_EVENTS)


def enqueue(
    deliveries: Sequence[Delivery],
    notification: Notification,
    state: AlertState | None,
    routes: Routes,
    configured: Sequence[str],
    now: datetime,
) -> tuple[Delivery, ...]:
    """The alert's deliveries with those of a new notification.

    Who heard of this firing hears of its end, whatever the routes say by then. A resolve does not wait for
    quiet hours by itself, only behind what is still waiting.
    """
    firing = [each for each in deliveries if each.notification.firing == notification.firing]
    told = unique(each.channel for each in firing)
    channels = told
    if notification.event not in ("resolve", "update"):
        channels = unique([*told, *routes.channels(notification, configured)])
        if not channels and not any(route.match.accepts(notification) for route in routes.routes):
            channels = [UNROUTED]
    added = []
    for channel in channels:
        if not takes(channel, notification.event):
            continue
        if notification.event == "resolve":
            waiting = [each.not_before for each in firing if each.channel == channel and each.status == "pending"]
            held = max((each for each in waiting if each), default=None)
        else:
            held = routes.held_until(notification, channel, now, state.snoozed_until if state else None)
        missing = None if channel in configured else f"{channel or 'no channel'} is not configured"
        added.append(Delivery(notification, channel, not_before=held, error=missing))
    return (*deliveries, *added)


def route_unrouted(ledger: Ledger, routes: Routes, configured: Sequence[str], now: datetime) -> Ledger:
    """What arose while no channel was configured goes to the channels there are now.

    What was over by then is not sent late; it is kept as failed, with this reason.
    """
    if not configured:
        return ledger
    routed = dict(ledger.deliveries)
    for key, deliveries in ledger.deliveries.items():
        waiting = [each for each in deliveries if each.channel == UNROUTED and each.status == "pending"]
        if not waiting:
            continue
        over = {each.notification.firing for each in waiting if each.notification.event == "resolve"}
        kept: tuple[Delivery, ...] = ()
        for each in deliveries:
            if each not in waiting:
                kept = (*kept, each)
            elif each.notification.firing in over:
                reason = "no channel was configured while the alert was open"
                kept = (*kept, replace(each, status="failed", error=reason))
            else:
                kept = enqueue(kept, each.notification, ledger.states.get(key), routes, configured, now)
        routed[key] = kept
    return replace(ledger, deliveries=routed)


def due(ledger: Ledger, configured: Collection[str], now: datetime) -> list[Delivery]:
    """What is to be sent now, oldest first.

    A message that may go out releases the earlier ones of its alert that wait for quiet hours: a critical
    escalation does not overtake its own beginning.
    """
    pending = [each for deliveries in ledger.deliveries.values() for each in deliveries if each.status == "pending"]
    held = {each.channel for each in pending if each.holds_channel and each.retry_at and each.retry_at > now}
    chains: dict[tuple[str, str], list[Delivery]] = {}
    for each in pending:
        if each.channel in configured and each.channel not in held:
            chains.setdefault((each.notification.key, each.channel), []).append(each)
    ready = []
    for chain in chains.values():
        if any(each.claimed_until and each.claimed_until > now for each in chain):
            continue
        free = [place for place, each in enumerate(chain) if each.not_before is None or each.not_before <= now]
        for each in chain[: free[-1] + 1 if free else 0]:
            if each.retry_at and each.retry_at > now:
                break
            ready.append(each)
    return sorted(ready, key=lambda each: (each.notification.at, each.notification.key, each.notification.sequence))


def claim(ledger: Ledger, chosen: Iterable[Delivery], now: datetime) -> Ledger:
    """Marks deliveries as being sent, so that a second evaluation leaves them alone."""
    ids = {each.id for each in chosen}
    return _changed(ledger, dict.fromkeys(ids, lambda delivery: replace(delivery, claimed_until=now + LEASE)))


def settle(ledger: Ledger, claimed: Iterable[Delivery], outcomes: Mapping[str, Outcome], now: datetime) -> Ledger:
    """Records what became of claimed deliveries; those without an outcome are free again."""

    def settled(delivery: Delivery) -> Delivery:
        free = replace(delivery, claimed_until=None)
        outcome = outcomes.get(delivery.id)
        if outcome is None:
            return free
        tried = replace(
            free, attempts=free.attempts + 1, error=outcome.error, reference=outcome.reference, retry_at=None,
            holds_channel=False,
        )  # fmt: skip
        if outcome.result == "delivered":
            return replace(tried, status="delivered", delivered_at=now)
        if outcome.result == "failed":
            return replace(tried, status="failed")
        wait = retry_delay(tried.attempts, outcome.retry_after)
        return replace(tried, retry_at=now + wait, holds_channel=outcome.holds_channel)

    return _changed(ledger, {each.id: settled for each in claimed})


def retry_delay(attempts: int, retry_after: timedelta | None) -> timedelta:
    """How long to wait after `attempts` failures: doubling, and not less than the server asked for."""
    doubled = min(FIRST_RETRY * float(2 ** min(attempts - 1, 16)), LONGEST_RETRY)
    return max(doubled, min(retry_after or timedelta(0), LONGEST_RETRY_AFTER))


def reference_of(ledger: Ledger, delivery: Delivery) -> str | None:
    """What the channel called the newest message of this firing."""
    firing = delivery.notification.firing
    known = [
        each.reference
        for each in ledger.deliveries.get(delivery.notification.key, ())
        if each.channel == delivery.channel and each.notification.firing == firing and each.reference
    ]
    return known[-1] if known else None


def prune(ledger: Ledger, now: datetime) -> Ledger:
    """Without what ended more than `KEEP` ago."""
    states, kept = {}, {}
    for key, state in ledger.states.items():
        deliveries = tuple(
            each
            for each in ledger.deliveries.get(key, ())
            if each.status == "pending"
            or now - each.notification.at < KEEP
            or (state.status == "open" and each.notification.opened_at == state.opened_at)
        )
        if state.status != "closed" or deliveries or now - (state.closed_at or state.first_seen) < KEEP:
            states[key] = state
            if deliveries:
                kept[key] = deliveries
    return Ledger(states, kept)


def _changed(ledger: Ledger, changes: Mapping[str, Callable[[Delivery], Delivery]]) -> Ledger:
    return replace(
        ledger,
        deliveries={
            key: tuple(changes[each.id](each) if each.id in changes else each for each in deliveries)
            for key, deliveries in ledger.deliveries.items()
        },
    )
