"""Quarantine: the rejected rows of all bronze tables, to be listed and looked at.

Belongs here: finding rejected rows and naming each. Not here: decoding them again (replay.py), why a row is rejected
(kafka_sinks/decode), the SQL view `quarantine` (lake/views.py).

A rejected row is a row of its table in the null `event_date` partition. Its key names it as long as it is there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import duckdb

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import Snapshot, connect

NUMBER = "coalesce(_offset, _row)"
KEY = f"_batch || ':' || coalesce(_partition, 0) || ':' || {NUMBER}"
PLACE = "case when _file is null then _topic || '[' || _partition || ']@' || _offset else _file || '#' || _row end"
SHOWN = f"{KEY} as key, {PLACE} as place, _reason, _error, _landed_at, _raw"


class NotInQuarantine(LakehouseError):
    """No rejected row has the key that was given."""


@dataclass(frozen=True)
class Filter:
    """Which rejected rows are meant; None leaves them all. `since` is compared with the landing time."""

    source: str | None = None
    reason: str | None = None
    since: datetime | None = None

    def where(self) -> tuple[str, list[object]]:
        """The condition on rows, and its parameters."""
        parts: list[tuple[str, object]] = []
        if self.reason is not None:
            parts.append(("_reason = ?", self.reason))
        if self.since is not None:
            parts.append(("_landed_at >= ?", self.since))
        return " and ".join(["true", *(part for part, _ in parts)]), [value for _, value in parts]


EVERYTHING = Filter()


@dataclass(frozen=True)
class Rejected:
    """One rejected row. `key` names it for `show`; `place` is topic[partition]@offset or file#row."""

    source: str
    key: str
    place: str
    reason: str
    error: str
    landed_at: datetime
    raw: bytes


def count_rejected(lake: Lake, only: Filter = EVERYTHING) -> dict[tuple[str, str], int]:
    """Rejected rows by (source, reason)."""
    where, values = only.where()
    counted: dict[tuple[str, str], int] = {}
    for name, connection, rows in rejected_rows(lake, only):
        query = f"select _reason, count(*) from ({rows}) where {where} group by all order by all"
        counted |= {(name.table, reason): count for reason, count in connection.execute(query, values).fetchall()}
    return counted


def list_rejected(lake: Lake, only: Filter = EVERYTHING, limit: int = 50) -> list[Rejected]:
    """The newest rejected rows."""
    where, values = only.where()
    found: list[Rejected] = []
    for name, connection, rows in rejected_rows(lake, only):
        query = f"select {SHOWN} from ({rows}) where {where} order by _landed_at desc, {NUMBER} limit {int(limit)}"
        found += [Rejected(name.table, *row) for row in connection.execute(query, values).fetchall()]
    return sorted(found, key=lambda row: row.landed_at, reverse=True)[:limit]


def show(lake: Lake, key: str) -> Rejected:
    """One rejected row by its key. Raises `NotInQuarantine`."""
    for name, connection, rows in rejected_rows(lake, EVERYTHING):
        row = connection.execute(f"select {SHOWN} from ({rows}) where {KEY} = ?", [key]).fetchone()
        if row:
            return Rejected(name.table, *row)
    raise NotInQuarantine(
        f"No rejected row has the key {key!r}.", remedy="`quarantine list` shows the keys; a replay may have moved it."
    )


def rejected_rows(lake: Lake, only: Filter) -> Iterator[tuple[TableName, duckdb.DuckDBPyConnection, str]]:
    """Each bronze table that is meant, with a connection and the query of its rejected rows."""
    with connect(lake) as connection:
        for name in lake.tables():
            if name.layer == "bronze" and only.source in (None, name.table):
                snapshot = Snapshot.of(name, lake.open(name))
                yield name, connection, snapshot.query(connection, snapshot.rejected())
