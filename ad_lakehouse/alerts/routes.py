"""Who is told, and when not: routes, quiet hours, snoozes, policy.

Belongs here: what the routes file means, and pure decisions from it. Not here: reading the file (routes_file.py),
sending.

Every route that matches counts. An alert that no route matches goes to every configured channel, so that a gap
in the routes loses nothing. `channels: []` is the way to say that nobody is told.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from ad_lakehouse.alerts.state import SEVERITIES, Notification, Policy, Severity

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
CHANNEL = re.compile(r"slack(:[#\w.-]+)?|slack-webhook|(pagerduty|webhook)(:[\w.-]+)?|apprise:[\w.-]+")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = get_args(Weekday)


def duration(value: object) -> object:
    """`90s`, `15m`, `2h`, `1d` as a timedelta; other types are left to pydantic."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("a duration needs a unit: 90s, 15m, 2h or 1d")
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,6})\s*(s|m|min|h|d)\s*", value)
        if not found:
            raise ValueError("a duration is a whole number and a unit: 90s, 15m, 2h or 1d")
        return timedelta(seconds=int(found[1]) * UNITS[found[2]])
    return value


def time_of_day(value: object) -> object:
    """`22:00` as text; unquoted, YAML 1.1 reads it as the number 1320, which would pass for seconds."""
    if not isinstance(value, str | time):
        raise ValueError('a time of day is quoted: "22:00"')
    return value


def channel_name(value: str) -> str:
    if not CHANNEL.fullmatch(value):
        raise ValueError("a channel is slack, slack:#name, slack-webhook, pagerduty, webhook, apprise:1 or a named one")
    return value


def zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError):  # not found is a KeyError; a folder's name is an OSError
        raise ValueError("no such time zone; write it like Europe/Vienna") from None
    return value


Duration = Annotated[timedelta, BeforeValidator(duration)]
TimeOfDay = Annotated[time, BeforeValidator(time_of_day)]
Channel = Annotated[str, AfterValidator(channel_name)]


class Part(BaseModel):
    """Base of everything in the routes file: unknown fields are errors, since a misspelt route tells nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(Part):
    """Which alerts: all that is given must hold. `owner` and `asset` and `key` are globs (`marts.*`)."""

    owner: str = "*"
    asset: str = "*"
    key: str = "*"
    severity: Severity = Field("warning", description="At least this grave")

    def accepts(self, notification: Notification) -> bool:
        return (
            fnmatchcase(notification.owner, self.owner)
            and fnmatchcase(notification.asset, self.asset)
            and fnmatchcase(notification.key, self.key)
            and SEVERITIES.index(notification.severity) >= SEVERITIES.index(self.severity)
        )


class QuietHours(Part):
    """Hours in which a route stays silent. An end before the start is on the next day."""

    start: TimeOfDay
    end: TimeOfDay
    timezone: Annotated[str, AfterValidator(zone)] = "UTC"
    days: tuple[Weekday, ...] = Field(WEEK, description="Days on which the hours start")

    def until(self, now: datetime) -> datetime | None:
        """When the quiet hours that hold `now` end (in UTC of `now`); None outside of them."""
        here = ZoneInfo(self.timezone)
        today = now.astimezone(here).date()
        for day in (today - timedelta(days=1), today):
            if WEEK[day.weekday()] not in self.days:
                continue
            begin = datetime.combine(day, self.start, here)
            last = day if self.end > self.start else day + timedelta(days=1)
            finish = datetime.combine(last, self.end, here)
            # Compared in UTC: two local times of one zone compare by the wall clock, which jumps twice a year.
            if begin.astimezone(now.tzinfo) <= now < finish.astimezone(now.tzinfo):
                return finish.astimezone(now.tzinfo)
        return None


class Route(Part):
    """From alerts to channels; `escalation` names the channels added at each step of escalation."""

    match: Match = Match()
    channels: tuple[Channel, ...]
    escalation: tuple[tuple[Channel, ...], ...] = ()
    quiet_hours: QuietHours | None = None

    def reaches(self, level: int) -> list[str]:
        return [*self.channels, *(each for group in self.escalation[:level] for each in group)]


class Snooze(Part):
    """Nobody is told of these alerts before `until`; then everything that arose is told."""

    match: Match
    until: AwareDatetime
    reason: str = ""


class PolicyPart(Part):
    """When an alert is told; see `state.Policy` for the meaning."""

    fire_after_evaluations: int = Field(1, ge=1)
    fire_after: Duration = Policy.fire_after
    resolve_after: Duration = Policy.resolve_after
    escalate_after: Duration | None = None
    remind_after: Duration | None = None
    catch_up: Duration = Policy.catch_up
    flap_count: int = Field(Policy.flap_count, ge=0, description="0 switches the damping off")
    flap_window: Duration = Policy.flap_window
    flap_settle: Duration = Policy.flap_settle
    critical_breaks_through: bool = Field(True, description="Critical alerts ignore quiet hours and snoozes")


class Routes(Part):
    """The whole routes file."""

    policy: PolicyPart = PolicyPart()
    routes: tuple[Route, ...] = ()
    snoozes: tuple[Snooze, ...] = ()

    def machine_policy(self) -> Policy:
        values = self.policy.model_dump(exclude={"critical_breaks_through"})
        return Policy(**values, levels=max((len(route.escalation) for route in self.routes), default=0))

    def channels(self, notification: Notification, configured: Sequence[str]) -> list[str]:
        """Who is to hear of it, in the routes' order and each once.

        Without a route it is every configured channel, but Slack's own default channel instead of those that
        only routes name.
        """
        matching = [route for route in self.routes if route.match.accepts(notification)]
        if not matching:
            return [name for name in configured if not name.startswith("slack:")] or list(configured)
        return unique(channel for route in matching for channel in route.reaches(notification.level))

    def held_until(
        self, notification: Notification, channel: str, now: datetime, snoozed_until: datetime | None = None
    ) -> datetime | None:
        """Until when the notification waits for this channel; None: it goes out now.

        Where two routes lead to one channel, the one that is not quiet counts.
        """
        if notification.severity == "critical" and self.policy.critical_breaks_through:
            return None
        waits = [snooze.until for snooze in self.snoozes if snooze.match.accepts(notification) and snooze.until > now]
        if snoozed_until and snoozed_until > now:
            waits.append(snoozed_until)
        leading = [
            route
            for route in self.routes
            if route.match.accepts(notification) and channel in route.reaches(notification.level)
        ]
        quiet = [route.quiet_hours.until(now) if route.quiet_hours else None for route in leading]
        ends = [end for end in quiet if end]
        if ends and len(ends) == len(quiet):
            waits.append(min(ends))
        return max(waits, default=None)


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
