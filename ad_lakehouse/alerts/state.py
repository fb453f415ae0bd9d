"""The values that the alert code passes around.

Belongs here: plain data, and nothing that decides. Not here: `Condition`, which callers make (conditions.py).
All times are UTC with a time zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

Severity = Literal["warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # mildest first

Status = Literal["waiting", "folded", "open", "closed"]
Event = Literal["fire", "escalate", "remind", "update", "resolve"]
DeliveryStatus = Literal["pending", "delivered", "failed"]


def worst(*severities: Severity) -> Severity:
    """The gravest of the given severities."""
    return max(severities, key=SEVERITIES.index)


@dataclass(frozen=True)
class Policy:
    """When a condition is told, again, and as over. The defaults tell at once and never remind."""

    fire_after_evaluations: int = 1
    fire_after: timedelta = timedelta(0)
    resolve_after: timedelta = timedelta(0)
    escalate_after: timedelta | None = None  # unacknowledged for longer → next step of the route
    levels: int = 0  # steps of escalation that the routes have
    remind_after: timedelta | None = None
    catch_up: timedelta = timedelta(minutes=30)  # for what is below a source, after the source recovered
    flap_count: int = 4  # openings within flap_window that make an alert a flapping one
    flap_window: timedelta = timedelta(hours=2)
    flap_settle: timedelta = timedelta(minutes=30)  # a flapping alert is over after this much quiet


@dataclass(frozen=True)
class AlertState:
    """What is remembered of one condition.

    waiting: seen, not yet told (hold-off). folded: told as part of `folded_into`. open: told.
    closed: over; kept for its history and to notice flapping.
    `severity` is the gravest told since `opened_at`; title and text are those last told.
    """

    key: str
    status: Status
    severity: Severity
    title: str
    text: str
    owner: str
    asset: str
    source: str
    parent: str | None
    first_seen: datetime
    evaluations: int = 1
    not_before: datetime | None = None  # waiting: catch-up time after the parent recovered
    folded_into: str | None = None
    opened_at: datetime | None = None  # with the key, the identity of one firing
    closed_at: datetime | None = None
    absent_since: datetime | None = None  # open, but the condition is gone: waits for resolve_after
    told_at: datetime | None = None
    raised_at: datetime | None = None  # fired or last escalated
    level: int = 0
    sequence: int = 0  # notifications of this firing so far
    openings: tuple[datetime, ...] = ()
    below: tuple[str, ...] = ()  # keys folded into this one and told with it
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    snoozed_until: datetime | None = None


@dataclass(frozen=True)
class Notification:
    """One thing to tell. `id` is the same however often it is delivered."""

    key: str
    event: Event
    reason: str  # why this event, in words
    severity: Severity
    title: str
    text: str
    owner: str
    asset: str
    source: str
    level: int
    opened_at: datetime
    at: datetime
    sequence: int

    @property
    def id(self) -> str:
        return f"{self.key}@{self.opened_at:%Y%m%dT%H%M%S.%fZ}/{self.sequence}"

    @property
    def firing(self) -> str:
        return self.id.rpartition("/")[0]


@dataclass(frozen=True)
class Delivery:
    """One notification for one channel: a row of the outbox, and afterwards of the history."""

    notification: Notification
    channel: str
    status: DeliveryStatus = "pending"
    attempts: int = 0
    not_before: datetime | None = None  # quiet hours or snooze
    retry_at: datetime | None = None
    claimed_until: datetime | None = None  # an evaluation is delivering it
    holds_channel: bool = False  # the failure was the channel's, not this message's
    delivered_at: datetime | None = None
    reference: str | None = None  # what the channel calls the message, for changing it later
    error: str | None = None

    @property
    def id(self) -> str:
        return f"{self.notification.id}>{self.channel}"


@dataclass(frozen=True)
class Ledger:
    """Everything kept: the states and, by alert key, the deliveries in the order they arose."""

    states: Mapping[str, AlertState] = field(default_factory=dict)
    deliveries: Mapping[str, tuple[Delivery, ...]] = field(default_factory=dict)
