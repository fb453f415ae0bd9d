"""When a source's data is too old.

Belongs here: the windows, reading newest event times from Delta, comparing the two. Not here: telling anyone
(alerts), Dagster's own freshness policies (defs/freshness.py), how far landing is behind Kafka (a landing's report).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from deltalake import DeltaTable
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, model_validator

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import Snapshot, connect, quoted
from ad_lakehouse.yaml_places import read_yaml, validated

FILE = Path(__file__).with_name("freshness.yml")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
EVENT_TIME = "event_ts"


def duration(value: Any) -> timedelta:
    """`30m` → 30 minutes."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None or not int(match[1]):
        raise ValueError("a duration is a number with a unit: 90s, 30m, 2h or 3d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(duration)]


class Window(BaseModel):
    """How old the newest value of `column` may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warn: Duration
    late: Duration
    column: Annotated[str, BeforeValidator(str)] = EVENT_TIME
    required: StrictBool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warn > self.late:
            raise ValueError("warn comes before late")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sources: dict[str, Window]


@dataclass(frozen=True)
class FreshnessState:
    """How fresh a source is. `window` is what its age is to stay below; without an event there is no age."""

    source: str
    state: Literal["fresh", "warn", "late", "missing"]
    newest: datetime | None
    window: timedelta
    age: timedelta | None


def load_windows(own: Path | None = None) -> dict[str, Window]:
    """The window of each source; those of the user's `own` file replace ours.

    Raises `ConfigurationError` naming file, line, field, value and remedy.
    """
    windows: dict[str, Window] = {}
    for path in (FILE, own):
        if path is not None:
            content, places = read_yaml(path)
            windows |= validated(_File, content, places, fields=sorted(Window.model_fields)).sources
    return windows


def freshness(
    newest: Mapping[str, datetime | None], windows: Mapping[str, Window], now: datetime
) -> list[FreshnessState]:
    """The state of each source that has a window, by name.

    `newest`: event time of the newest event, None when the table has none; a source that is not in it has no table,
    and is told only when it is required. An event of the future is as fresh as one of now.
    """
    states = []
    for source, window in sorted(windows.items()):
        if source not in newest and not window.required:
            continue
        at = newest.get(source)
        if at is None:
            states.append(FreshnessState(source, "missing", None, window.late, None))
            continue
        age = max(now - at, timedelta(0))
        if age > window.late:
            states.append(FreshnessState(source, "late", at, window.late, age))
        elif age > window.warn:
            states.append(FreshnessState(source, "warn", at, window.warn, age))
        else:
            states.append(FreshnessState(source, "fresh", at, window.warn, age))
    return states


def newest_events(lake: Lake, windows: Mapping[str, Window], now: datetime) -> dict[str, datetime | None]:
    """Newest event time, up to `now`, of each source with a window whose bronze table exists.

    Events of the future (a producer's clock) are left out, else they would hide that nothing arrives.
    """
    found: dict[str, datetime | None] = {}
    for source, window in windows.items():
        name = TableName("bronze", source)
        table = lake.open_if_exists(name)
        if table is not None:
            found[source] = newest_value(lake, name, table, window.column, now)
    return found


def newest_value(lake: Lake, name: TableName, table: DeltaTable, column: str, now: datetime) -> datetime | None:
    """The newest value of a column in accepted rows, not after `now`.

    For the event time the files' statistics of the newest day tell, so that no file is read; only where they do
    not (no statistics, an event of the future) rows are queried, day by day from the newest.
    """
    snapshot = Snapshot.of(name, table)
    if column != EVENT_TIME:
        return _queried(lake, snapshot, column, None, now)
    for day, newest in sorted(_by_statistics(table, snapshot, column).items(), reverse=True):
        if newest is None or newest > now:
            newest = _queried(lake, snapshot, column, day, now)
        if newest is not None:
            return newest
    return None


def _by_statistics(table: DeltaTable, snapshot: Snapshot, column: str) -> dict[date, datetime | None]:
    """Newest value of each day; None for a day with a file that does not tell."""
    actions = pa.table(table.get_add_actions(flatten=True))
    told = f"max.{column}"
    values = actions[told].to_pylist() if told in actions.column_names else [None] * actions.num_rows
    newest: dict[date, datetime | None] = {}
    for file, value in zip(snapshot.files, values, strict=True):
        if file.day is not None:
            here = _moment(value)
            before = newest.get(file.day, here)
            newest[file.day] = None if here is None or before is None else max(before, here)
    return newest


def _queried(lake: Lake, snapshot: Snapshot, column: str, day: date | None, now: datetime) -> datetime | None:
    files = snapshot.accepted(None if day is None else [day])
    with connect(lake) as connection:
        row = connection.execute(
            f"select max({quoted(column)}) from ({snapshot.query(connection, files)}) where {quoted(column)} <= ?",
            [now],
        ).fetchone()
    return _moment(row[0]) if row else None


def _moment(value: Any) -> datetime | None:
    """A date or a time without zone as a moment in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
