"""What to tell: from what was told and what is wrong now, to what is told and what to tell now.

Belongs here: pure decisions, with the time as an argument. Not here: to whom (routes.py), whether it arrived
(outbox.py).

An alert fires once, escalates when it gets worse or nobody acknowledges it, and resolves once. A condition whose
cause (parent) is active is folded into that cause instead of firing. An alert that opens again and again stays
open until it has been quiet for a while.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from ad_lakehouse.alerts.causes import Scene, is_flapping
from ad_lakehouse.alerts.conditions import Condition, merged
from ad_lakehouse.alerts.state import AlertState, Event, Notification, Policy, Severity, worst
from ad_lakehouse.alerts.wording import spoken

NAMED_BELOW = 10  # titles listed in a parent's text; a whole lake may hang below one source


class Step(NamedTuple):
    """The states after an evaluation, and what to tell."""

    states: dict[str, AlertState]
    notifications: list[Notification]


def step(
    states: Mapping[str, AlertState],
    conditions: Iterable[Condition],
    now: datetime,
    policy: Policy,
    *,
    scope: Collection[str] | None = None,
) -> Step:
    """One evaluation.

    `scope` holds the kinds of conditions this evaluation looked at (None: all); alerts of other kinds stay as
    they are, since a condition that nobody looked for is not gone.
    """
    scene = Scene(merged(conditions), states, scope, now, policy)
    folded: dict[str, list[Condition | AlertState]] = {}
    for key in sorted(scene.present.keys() | states.keys()):
        subject = _foldable(scene, key)
        cause = scene.cause(key) if subject else None
        if subject and cause:
            folded.setdefault(cause, []).append(subject)
    after: dict[str, AlertState] = {}
    told: list[Notification] = []
    for key in sorted(scene.present.keys() | states.keys()):
        state, notification = _advance(scene, key, folded.get(key, []))
        if state:
            after[key] = state
        if notification:
            told.append(notification)
    return Step(after, told)


def _foldable(scene: Scene, key: str) -> Condition | AlertState | None:
    """The condition of `key` when its cause may speak for it: it is wrong now and was not told itself."""
    state, condition = scene.states.get(key), scene.present.get(key)
    if state and state.status == "open":
        return None
    if condition:
        return condition
    return state if state and state.status == "folded" and not scene.covers(key) else None


def _advance(
    scene: Scene, key: str, folded: Sequence[Condition | AlertState]
) -> tuple[AlertState | None, Notification | None]:
    condition, state = scene.present.get(key), scene.states.get(key)
    if state and state.status == "open":
        if condition is None and scene.covers(key):
            return _gone(scene, state)
        return _still_open(scene, state, condition, folded)
    if condition is None:
        if state is None or state.status == "closed" or not scene.covers(key):
            return state, None
        return (replace(state, status="closed") if state.openings else None), None
    return _not_told(scene, state, condition, folded)


def _not_told(
    scene: Scene, state: AlertState | None, condition: Condition, folded: Sequence[Condition | AlertState]
) -> tuple[AlertState, Notification | None]:
    now, policy = scene.now, scene.policy
    cause = scene.cause(condition.key)
    if state is None or state.status == "closed":
        state = _first_seen(condition, now, state.openings if state else ())
    elif state.status == "folded" and cause is None:
        state = replace(
            _first_seen(condition, now, state.openings), first_seen=state.first_seen, not_before=now + policy.catch_up
        )
    elif state.status == "waiting" and state.evaluations < policy.fire_after_evaluations:
        state = replace(state, evaluations=state.evaluations + 1)
    if cause is not None:
        folded_state = replace(
            state, status="folded", folded_into=cause, parent=condition.parent, not_before=None,
            severity=condition.severity, title=condition.title,
        )  # fmt: skip
        return folded_state, None
    held = (
        state.evaluations < policy.fire_after_evaluations
        or now - state.first_seen < policy.fire_after
        or (state.not_before is not None and now < state.not_before)
    )
    return (state, None) if held else _fire(scene, state, condition, folded)


def _first_seen(condition: Condition, now: datetime, openings: tuple[datetime, ...]) -> AlertState:
    return AlertState(
        condition.key, "waiting", condition.severity, condition.title, condition.text, condition.owner,
        condition.asset, condition.source, condition.parent, first_seen=now, openings=openings,
    )  # fmt: skip


def _fire(
    scene: Scene, state: AlertState, condition: Condition, folded: Sequence[Condition | AlertState]
) -> tuple[AlertState, Notification]:
    now, policy = scene.now, scene.policy
    openings = (*(each for each in state.openings if now - each < policy.flap_window), now)
    opened = replace(
        state, status="open", opened_at=now, openings=openings, raised_at=now, not_before=None, folded_into=None
    )
    reason = "new"
    if is_flapping(opened, policy):
        quiet = spoken(policy.flap_settle)
        reason = f"opened {len(openings)} times within {spoken(policy.flap_window)}; over after {quiet} of quiet"
    return _tell(opened, "fire", reason, now, condition, folded)


def _still_open(
    scene: Scene, state: AlertState, condition: Condition | None, folded: Sequence[Condition | AlertState]
) -> tuple[AlertState, Notification | None]:
    now, policy = scene.now, scene.policy
    if condition and state.absent_since:
        state = replace(state, absent_since=None)
    severity = _severity(condition or state, state, folded)
    if severity != state.severity:
        reason = f"{state.severity} → {severity}"
        raised = replace(state, raised_at=now, acknowledged_at=None, acknowledged_by=None)
        return _tell(raised, "escalate", reason, now, condition, folded)
    if any(each.key not in state.below for each in folded):
        return _tell(state, "update", "more below it", now, condition, folded)
    silent = state.acknowledged_at or (state.snoozed_until and now < state.snoozed_until) or scene.cause(state.key)
    if condition is None or silent:
        return state, None
    if _elapsed(state.raised_at, policy.escalate_after, now) and state.level < policy.levels:
        reason = f"not acknowledged for {spoken(now - state.raised_at)}" if state.raised_at else ""
        raised = replace(state, level=state.level + 1, raised_at=now)
        return _tell(raised, "escalate", reason, now, condition, folded)
    if _elapsed(state.told_at, policy.remind_after, now):
        reason = f"open for {spoken(now - state.opened_at)}" if state.opened_at else ""
        return _tell(state, "remind", reason, now, condition, folded)
    return state, None


def _gone(scene: Scene, state: AlertState) -> tuple[AlertState, Notification | None]:
    now = scene.now
    if not scene.is_over(state):
        return replace(state, absent_since=state.absent_since or now), None
    reason = f"after {spoken(now - state.opened_at)}" if state.opened_at else ""
    resolved, notification = _tell(state, "resolve", reason, now, None, [])
    closed = replace(
        resolved, status="closed", closed_at=now, absent_since=None, below=(), level=0,
        acknowledged_at=None, acknowledged_by=None, snoozed_until=None,
    )  # fmt: skip
    return closed, notification


def _elapsed(since: datetime | None, limit: timedelta | None, now: datetime) -> bool:
    return since is not None and limit is not None and now - since >= limit


def _severity(subject: Condition | AlertState, state: AlertState, folded: Sequence[Condition | AlertState]) -> Severity:
    """The gravest of what is, what was told, and what is folded into it."""
    told = [state.severity] if state.sequence else []
    return worst(subject.severity, *told, *(each.severity for each in folded))


def _tell(
    state: AlertState,
    event: Event,
    reason: str,
    now: datetime,
    condition: Condition | None,
    folded: Sequence[Condition | AlertState],
) -> tuple[AlertState, Notification]:
    """The state after telling `event`, and the notification."""
    subject = condition or state
    text = subject.text
    if folded:
        names = [each.title for each in folded[:NAMED_BELOW]]
        more = [f"… and {len(folded) - NAMED_BELOW} more"] if len(folded) > NAMED_BELOW else []
        text = (condition or _without_below(state)).text + "\nBelow it: " + "; ".join(names + more)
    told = replace(
        state, severity=_severity(subject, state, folded), title=subject.title, text=text, owner=subject.owner,
        asset=subject.asset, source=subject.source, parent=subject.parent, told_at=now, sequence=state.sequence + 1,
        below=tuple(sorted({*state.below, *(each.key for each in folded)})),
    )  # fmt: skip
    notification = Notification(
        told.key, event, reason, told.severity, told.title, told.text, told.owner, told.asset, told.source,
        told.level, told.opened_at or now, now, told.sequence,
    )  # fmt: skip
    return told, notification


def _without_below(state: AlertState) -> AlertState:
    return replace(state, text=state.text.partition("\nBelow it: ")[0])
