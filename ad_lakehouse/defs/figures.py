"""Figures of tables and of commits, read from the Delta log.

Belongs here: plain values for metadata. Not here: how Dagster shows them (metadata.py).

What landed is told by the commits, not by what landing reports: a file may go into two tables, and another sink may
land at the same time.
"""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from urllib.parse import unquote

import dagster as dg
import duckdb
from deltalake.exceptions import TableNotFoundError

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import DataFile, Snapshot, connect


class NotLanded(LakehouseError):
    """A table is asked for that is not there yet."""

    exit_code = 14


@dataclass(frozen=True)
class TableFigures:
    """What a table holds in one version."""

    snapshot: Snapshot
    uri: str
    changed: int  # the newest version that changed rows

    @cached_property
    def rows_per_day(self) -> dict[date, int]:
        found: Counter[date] = Counter()
        for file in self.snapshot.files:
            if file.day is not None:
                found[file.day] += file.rows or 0
        return dict(found)

    @property
    def data_version(self) -> dg.DataVersion:
        """The same as long as no row changed: a landing that found nothing, or maintenance, makes nothing unsynced."""
        return dg.DataVersion(f"{self.snapshot.table_id}@{self.changed}")

    @property
    def rows(self) -> int:
        return sum(file.rows or 0 for file in self.snapshot.accepted())

    @property
    def rejected(self) -> int:
        return sum(file.rows or 0 for file in self.snapshot.rejected())


@dataclass(frozen=True)
class Landed:
    """What a range of commits of a landed table added; `rejected` by reason, `size` in bytes."""

    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    size: int = 0
    commits: int = 0


def version_of(lake: Lake, name: TableName) -> int:
    """The newest version; -1 when the table is not there."""
    table = lake.open_if_exists(name)
    return -1 if table is None else table.version()


def changed_version(lake: Lake, name: TableName, version: int) -> int:
    """The newest version up to `version` that changed rows; 0 when none did, -1 for a table that is not there (-1)."""
    if version < 1:
        return version
    change = TableLog(lake, name).newest_change(version)
    return change.version if change else 0


def table_figures(lake: Lake, name: TableName) -> TableFigures:
    """Raises `NotLanded`."""
    try:
        snapshot = Snapshot.of(name, lake.open(name))
    except TableNotFoundError:
        raise NotLanded(f"{name} is not in the lake {lake.root}.", remedy="Materialise the asset first.") from None
    return TableFigures(snapshot, lake.uri(name), changed_version(lake, name, snapshot.version))


def landed_between(lake: Lake, snapshot: Snapshot, before: int) -> Landed:
    """What the commits after version `before`, up to the snapshot's, landed."""
    commits = [each for each in TableLog(lake, snapshot.name).since(before, snapshot.version) or [] if each.note]
    added = [action["add"] for commit in commits for action in commit.actions if "add" in action]
    base = lake.uri(snapshot.name)
    rejected = [each for each in added if not (each.get("partitionValues") or {}).get("event_date")]
    accepted = [each for each in added if (each.get("partitionValues") or {}).get("event_date")]
    files = [DataFile(f"{base}/{unquote(each['path'])}", None, each["size"], None) for each in rejected]
    return Landed(
        rows=sum(json.loads(each["stats"])["numRecords"] for each in accepted),
        rejected=reasons(lake, snapshot, files),
        size=sum(each["size"] for each in added),
        commits=len(commits),
    )


def reasons(lake: Lake, snapshot: Snapshot, files: Sequence[DataFile]) -> Counter[str]:
    """Rejected rows of some files, by reason; none of files that are gone: compacted, and then vacuumed."""
    if not files:
        return Counter()
    with connect(lake) as connection, suppress(duckdb.IOException):
        query = f"select _reason, count(*) from ({snapshot.query(connection, files)}) group by all order by all"
        return Counter(dict(connection.execute(query).fetchall()))
    return Counter()
