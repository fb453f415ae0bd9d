"""What people do with alerts: see them, acknowledge, snooze, send failed messages again.

Belongs here: these four, over the stored state. Not here: printing (cli.py), sending (evaluation.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ad_lakehouse.alerts import store
from ad_lakehouse.alerts.state import AlertState, Delivery, Ledger
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake

ATTEMPTS = 8


class NoSuchAlert(LakehouseError):
    """The key names no alert to which this can be done."""


@dataclass(frozen=True)
class ListedAlert:
    """One alert as `ad-lakehouse alerts list` shows it."""

    state: AlertState
    pending: tuple[Delivery, ...]  # not delivered yet; `error` tells why, `retry_at` when next
    failed: tuple[Delivery, ...]  # refused for good, with the reason
    last_delivered: datetime | None


def list_alerts(lake: Lake, *, closed: bool = False) -> list[ListedAlert]:
    """Alerts that are not over, the gravest and oldest first, and those with messages not delivered.

    With `closed` also those that are over (kept for 30 days).
    """
    ledger = store.load(lake).ledger
    found = []
    for key, state in ledger.states.items():
        deliveries = ledger.deliveries.get(key, ())
        listed = ListedAlert(
            state,
            tuple(each for each in deliveries if each.status == "pending"),
            tuple(each for each in deliveries if each.status == "failed"),
            max((each.delivered_at for each in deliveries if each.delivered_at), default=None),
        )
        if closed or state.status != "closed" or listed.pending or listed.failed:
            found.append(listed)
    order = {"open": 0, "waiting": 1, "folded": 2, "closed": 3}
    grave = {"critical": 0, "error": 1, "warning": 2}
    return sorted(
        found,
        key=lambda each: (order[each.state.status], grave[each.state.severity], each.state.first_seen, each.state.key),
    )


def acknowledge(lake: Lake, key: str, by: str, now: datetime) -> AlertState:
    """Somebody works on it: no escalation by time and no reminders until it gets worse or is over."""
    return _change(lake, key, lambda state: replace(state, acknowledged_at=now.astimezone(UTC), acknowledged_by=by))


def snooze(lake: Lake, key: str, until: datetime, now: datetime) -> AlertState:
    """Messages of this alert wait until then; nothing is lost."""
    if until <= now:
        past = until.astimezone(UTC)
        raise LakehouseError(f"Snooze of {key}: {past:%Y-%m-%d %H:%M} UTC is past.", remedy="Give a later time.")
    return _change(lake, key, lambda state: replace(state, snoozed_until=until.astimezone(UTC)))


def retry_failed(lake: Lake, key: str | None = None) -> int:
    """Queues messages again that were refused for good, of one alert or of all; returns how many."""

    def again(delivery: Delivery) -> Delivery:
        return replace(delivery, status="pending", retry_at=None) if delivery.status == "failed" else delivery

    for _ in range(ATTEMPTS):
        stored = store.load(lake)
        if key is not None and key not in stored.ledger.deliveries:
            raise NoSuchAlert(f"No alert {key!r} has messages.", remedy="See ad-lakehouse alerts list --closed.")
        chosen = {each: stored.ledger.deliveries[each] for each in stored.ledger.deliveries if key in (None, each)}
        count = sum(each.status == "failed" for deliveries in chosen.values() for each in deliveries)
        changed = {each: tuple(map(again, deliveries)) for each, deliveries in chosen.items()}
        ledger = replace(stored.ledger, deliveries={**stored.ledger.deliveries, **changed})
        try:
            store.save(lake, stored, ledger, {"retry": count})
        except store.StateMoved:
            continue
        return count
    raise LakehouseError("The alert state is being written all the time.", remedy="Try again.")


def _change(lake: Lake, key: str, change: Callable[[AlertState], AlertState]) -> AlertState:
    for _ in range(ATTEMPTS):
        stored = store.load(lake)
        state = stored.ledger.states.get(key)
        if state is None or state.status != "open":
            known = ", ".join(sorted(each.key for each in stored.ledger.states.values() if each.status == "open"))
            raise NoSuchAlert(f"No open alert {key!r}.", remedy=f"Open are: {known}." if known else "None is open.")
        changed = change(state)
        ledger = Ledger({**stored.ledger.states, key: changed}, stored.ledger.deliveries)
        try:
            store.save(lake, stored, ledger, {"handled": key})
        except store.StateMoved:
            continue
        return changed
    raise LakehouseError("The alert state is being written all the time.", remedy="Try again.")
