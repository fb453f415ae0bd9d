"""What is wrong now, made from facts that others found.

Belongs here: `Condition` and one function for each kind of fact. Not here: finding the facts (quality/, defs/),
remembering what was told (machine.py).

Each function gets **all** current facts of its kind, not only the changed ones: a condition that is missing from
an evaluation of its kind is over. The kind is the part of the key before the first slash; an evaluation names
the kinds it looked at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from ad_lakehouse.alerts.state import Severity, worst
from ad_lakehouse.alerts.wording import spoken

Owners = Mapping[str, str]  # asset → owner
FRESHNESS_SEVERITY: Mapping[str, Severity] = {"warn": "warning", "late": "error", "missing": "error"}
PIPELINE_SEVERITY: Mapping[str, Severity] = {"WARN": "warning", "FAIL": "error"}


@dataclass(frozen=True)
class Condition:
    """Something that is wrong now. `key` is stable while it lasts and when it comes back."""

    key: str
    severity: Severity
    title: str
    text: str
    owner: str
    asset: str
    source: str
    observed_at: datetime
    parent: str | None = None

    @property
    def kind(self) -> str:
        return kind_of(self.key)


def kind_of(key: str) -> str:
    """`freshness` of `freshness/impressions`."""
    return key.partition("/")[0]


class SourceFreshness(Protocol):
    """What quality/freshness.py says of one source."""

    @property
    def source(self) -> str: ...
    @property
    def state(self) -> Literal["fresh", "warn", "late", "missing"]: ...
    @property
    def newest(self) -> datetime | None: ...
    @property
    def window(self) -> timedelta: ...
    @property
    def age(self) -> timedelta | None: ...


@dataclass(frozen=True)
class AssetFreshness:
    """A pipeline freshness state of one asset, before and now: PASS, WARN, FAIL or UNKNOWN."""

    asset: str
    old: str
    new: str


@dataclass(frozen=True)
class PartitionLag:
    """How far landing is behind one Kafka partition."""

    topic: str
    partition: int
    landed: int  # next offset to land
    end: int
    oldest: timedelta | None  # age of the oldest record not landed; None when unknown or none

    @property
    def records(self) -> int:
        return max(0, self.end - self.landed)


@dataclass(frozen=True)
class FailedCheck:
    """A data check that did not hold."""

    asset: str
    check: str
    severity: Severity
    text: str


@dataclass(frozen=True)
class FailedRun:
    """The newest run of a job, when it failed."""

    job: str
    run_id: str
    text: str


@dataclass(frozen=True)
class FailedConnector:
    """A connector of Kafka Connect that has failed, or some of its tasks have."""

    name: str
    text: str


def from_freshness(
    facts: Iterable[SourceFreshness],
    now: datetime,
    owners: Owners | None = None,
    assets: Mapping[str, str] | None = None,
) -> list[Condition]:
    """Sources whose newest event is too old. `assets` names a source's table (default `bronze.<source>`)."""
    found = []
    for fact in facts:
        severity = FRESHNESS_SEVERITY.get(fact.state)
        if severity is None:
            continue
        asset = (assets or {}).get(fact.source, f"bronze.{fact.source}")
        if fact.state == "missing" or fact.newest is None:
            title = f"{fact.source}: no events"
            text = f"No event has arrived; one is expected every {spoken(fact.window)}."
        else:
            title = f"{fact.source}: events are late"
            age, limit = spoken(fact.age or now - fact.newest), spoken(fact.window)
            text = f"The newest event is of {fact.newest:%Y-%m-%d %H:%M} UTC, {age} ago; {limit} is the limit."
        found.append(
            Condition(
                f"freshness/{fact.source}", severity, title, text,
                (owners or {}).get(asset, ""), asset, fact.source, now,
            )
        )  # fmt: skip
    return found


def from_asset_freshness(
    facts: Iterable[AssetFreshness], now: datetime, owners: Owners | None = None
) -> list[Condition]:
    """Assets that were not built in time.

    UNKNOWN says nothing: an asset that was late and is now unknown is still late.
    """
    found = []
    for fact in facts:
        state = fact.old if fact.new == "UNKNOWN" else fact.new
        severity = PIPELINE_SEVERITY.get(state)
        if severity is not None:
            found.append(
                Condition(
                    f"pipeline/{fact.asset}", severity, f"{fact.asset} was not built in time",
                    "Its freshness policy " + ("has failed." if state == "FAIL" else "warns."),
                    (owners or {}).get(fact.asset, ""), fact.asset, "pipeline", now,
                )
            )  # fmt: skip
    return found


def from_lag(
    facts: Iterable[PartitionLag],
    now: datetime,
    *,
    warn_after: timedelta,
    late_after: timedelta,
    assets: Mapping[str, str] | None = None,
    owners: Owners | None = None,
) -> list[Condition]:
    """Topics whose landing is behind: one condition a topic, naming its partitions, the worst first.

    `assets` names a topic's table (default: the topic itself).
    """
    behind: dict[str, list[tuple[timedelta, PartitionLag]]] = {}
    for fact in facts:
        if fact.oldest is not None and fact.records and fact.oldest > warn_after:
            behind.setdefault(fact.topic, []).append((fact.oldest, fact))
    found = []
    for topic, partitions in sorted(behind.items()):
        partitions.sort(key=lambda pair: (-pair[0], pair[1].partition))
        lines = [
            f"partition {lag.partition}: {lag.records:,} records not landed, the oldest waits for {spoken(age)}"
            for age, lag in partitions
        ]
        asset = (assets or {}).get(topic, topic)
        found.append(
            Condition(
                f"lag/{topic}", "error" if partitions[0][0] > late_after else "warning",
                f"{topic}: landing is behind", "\n".join(lines), (owners or {}).get(asset, ""), asset, topic, now,
            )
        )  # fmt: skip
    return found


def from_checks(facts: Iterable[FailedCheck], now: datetime, owners: Owners | None = None) -> list[Condition]:
    """Checks that did not hold."""
    return [
        Condition(
            f"check/{fact.asset}/{fact.check}", fact.severity, f"{fact.asset}: {fact.check} failed", fact.text,
            (owners or {}).get(fact.asset, ""), fact.asset, "check", now,
        )
        for fact in facts
    ]  # fmt: skip


def from_runs(facts: Iterable[FailedRun], now: datetime, owner: str = "") -> list[Condition]:
    """Jobs whose newest run failed; over when a later run succeeds."""
    return [
        Condition(
            f"run/{fact.job}", "error", f"{fact.job} failed", f"Run {fact.run_id}: {fact.text}",
            owner, fact.job, "run", now,
        )
        for fact in facts
    ]  # fmt: skip


def from_connectors(facts: Iterable[FailedConnector], now: datetime, owner: str = "") -> list[Condition]:
    """Connectors that have failed; over when they run again or were removed."""
    return [
        Condition(
            f"connector/{fact.name}", "error", f"Connector {fact.name} failed", fact.text,
            owner, fact.name, "connect", now,
        )
        for fact in facts
    ]  # fmt: skip


def merged(conditions: Iterable[Condition]) -> dict[str, Condition]:
    """Conditions by key; of two with one key the first counts, with the graver severity."""
    found: dict[str, Condition] = {}
    for each in conditions:
        before = found.get(each.key)
        found[each.key] = each if before is None else replace(before, severity=worst(before.severity, each.severity))
    return found
