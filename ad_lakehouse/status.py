"""The state of a lake at one glance.

Belongs here: reading figures of each table for people. Not here: judging them (quality/), telling (alerts/).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import Snapshot


@dataclass(frozen=True)
class TableStatus:
    """What one table holds; `rows` and `rejected` count rows, `size` is bytes, times are UTC."""

    name: TableName
    version: int
    rows: int
    rejected: int
    files: int
    size: int
    first_day: date | None
    last_day: date | None
    committed: datetime


def status(lake: Lake, names: Iterable[TableName] | None = None) -> list[TableStatus]:
    """One entry a table, from the Delta log alone (no data is read)."""
    return [table_status(lake, name) for name in (lake.tables() if names is None else names)]


def table_status(lake: Lake, name: TableName) -> TableStatus:
    table = lake.open(name)
    snapshot = Snapshot.of(name, table)
    days = [file.day for file in snapshot.files if file.day is not None]
    return TableStatus(
        name,
        snapshot.version,
        sum(file.rows or 0 for file in snapshot.accepted()),
        sum(file.rows or 0 for file in snapshot.rejected()),
        len(snapshot.files),
        sum(file.size for file in snapshot.files),
        min(days, default=None),
        max(days, default=None),
        datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC),
    )
