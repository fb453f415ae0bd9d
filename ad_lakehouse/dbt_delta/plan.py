"""Which days of a table must be rebuilt, and why. Pure: plain values in, plain values out.

Belongs here: the decision. Not here: reading the log that it needs (pins.py), rebuilding (store.py).

The rule it serves: an incremental table is bit-equal to a full rebuild. A model says for each input which input
days an output day reads; a changed input day therefore makes known output days stale. Whatever the log cannot
answer makes everything stale, never nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

EVERYTHING = date.max  # as `kept_before`: no day may be replaced
NOTHING: frozenset[date] = frozenset()


@dataclass(frozen=True, order=True)
class Dependency:
    """One input of a model: output day d reads its days d-before … d+after, or all of it when `window` is None."""

    table: str
    window: tuple[int, int] | None

    def input_days(self, output: Collection[date]) -> frozenset[date] | None:
        """The input days that `output` days read; None: all."""
        if self.window is None:
            return None
        before, after = self.window
        return frozenset(day + timedelta(n) for day in output for n in range(-before, after + 1))

    def stale_days(self, changed: Collection[date]) -> frozenset[date]:
        """The output days that read a `changed` input day. Only for a dependency with a window."""
        before, after = self.window or (0, 0)
        return frozenset(day + timedelta(n) for day in changed for n in range(-after, before + 1))


@dataclass(frozen=True)
class Version:
    """A table at one moment; a recreated table has another id."""

    id: str
    version: int


@dataclass(frozen=True)
class Recorded:
    """What the newest build wrote of itself into its commit.

    `codes`: the hash of the model's code as each engine compiles it, of all engines that are known to agree with
    the rows.
    """

    codes: Mapping[str, str]
    inputs: Mapping[str, Version]

    @classmethod
    def of(cls, note: Mapping[str, Any] | None) -> "Recorded | None":
        """From the commit's note; None when there is none or it says something else."""
        try:
            inputs = {name: Version(each["id"], each["version"]) for name, each in (note or {})["inputs"].items()}
            codes = (note or {}).get("codes") or {"duckdb": (note or {})["code"]}  # before Spark there was one engine
            return cls(codes, inputs)
        except KeyError:
            return None


@dataclass(frozen=True)
class Changed:
    """What changed in one input since the recorded build: some days, or (`days` None) possibly all, and then why."""

    days: frozenset[date] | None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """The output days to rebuild (None: all), the reason for people, and the first day that may be replaced.

    `advanced`: an input has another version than the recorded one, so the build is worth recording even when
    no day is stale. `kept_before`: days before it are frozen, since their inputs were deleted by retention.
    `kept_codes`: the recorded codes, which hold for the days that stay as they are. `inputs`: the versions that the
    plan was made from.
    """

    days: frozenset[date] | None
    reason: str
    advanced: bool = True
    kept_before: date | None = None
    kept_codes: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Version] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """No day is stale."""
        return self.days is not None and not self.days


def restart_reason(codes: Mapping[str, str], now: Mapping[str, Version], recorded: Recorded | None) -> str | None:
    """Why the recorded build says nothing about what to rebuild; None when it does.

    One text of a model compiles to other SQL on each engine, so codes of one engine are compared.
    """
    if recorded is None:
        return "never built"
    common = codes.keys() & recorded.codes.keys()
    if any(codes[engine] != recorded.codes[engine] for engine in common):
        return "the model's code or configuration changed"
    if not common:
        return f"built by {' and '.join(sorted(recorded.codes))}, whose code this build does not know"
    if set(now) != set(recorded.inputs):
        return "the model has other inputs"
    for name, version in sorted(now.items()):
        if version.id != recorded.inputs[name].id:
            return f"{name} was created anew"
        if version.version < recorded.inputs[name].version:
            return f"{name} was set back to an older version"
    return None


def stale(dependencies: Iterable[Dependency], changed: Mapping[str, Changed], *, by_day: bool) -> Plan:
    """The plan from what changed in each input; an input that is not in `changed` has the recorded version.

    `by_day`: the output is partitioned by day; else any change rebuilds all of it.
    """
    days: frozenset[date] = NOTHING
    whole = False
    reasons: list[str] = []
    for each in sorted(dependencies, key=lambda each: each.table):
        change = changed.get(each.table, Changed(NOTHING))
        if change.days is None:
            whole = True
            reasons.append(f"{each.table} {change.why}")
        elif change.days:
            reasons.append(f"{each.table} changed on {spoken(change.days)}")
            if by_day and each.window is not None:
                days |= each.stale_days(change.days)
            else:
                whole = True
    reason = "; ".join(dict.fromkeys(reasons)) or "no input changed"
    return Plan(None if whole else days, reason, advanced=bool(changed))


def asked(plan: Plan, days: frozenset[date], *, by_day: bool) -> Plan:
    """The plan with the `days` that someone asked to rebuild in any case."""
    if not days or plan.days is None:
        return plan
    return replace(plan, days=plan.days | days if by_day else None, reason=f"{plan.reason}; asked for {spoken(days)}")


def kept_before(
    dependencies: Iterable[Dependency], retained: Mapping[str, date], own: date | None, *, by_day: bool
) -> date | None:
    """The first output day whose inputs are all retained; None when no retention limits it.

    `retained`: the first day kept by each input that retention touched; `own`: that of the output itself.
    """
    first = own
    for each in dependencies:
        if each.table in retained:
            if each.window is None or not by_day:
                return EVERYTHING
            day = retained[each.table] + timedelta(each.window[0])
            first = max(first or day, day)
    return first


def frozen(plan: Plan, before: date | None) -> Plan:
    """The plan without the days that must stay as they are."""
    if before is None:
        return plan
    days = plan.days if plan.days is None else frozenset(day for day in plan.days if day >= before)
    if before == EVERYTHING:
        reason = f"{plan.reason}; kept as it is: an input it reads as a whole was cut by retention"
        return replace(plan, days=NOTHING, reason=reason, kept_before=before)
    reason = f"{plan.reason}; days before {before} are kept as they are (retention)"
    return replace(plan, days=days, reason=reason, kept_before=before)


def spoken(days: Collection[date]) -> str:
    """Days for people: few are listed, many are counted."""
    listed = sorted(days)
    if len(listed) <= 3:
        return ", ".join(day.isoformat() for day in listed)
    return f"{len(listed)} days ({listed[0]} … {listed[-1]})"
