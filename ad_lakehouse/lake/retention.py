"""Retention: days older than a date are deleted from a table, on purpose and without restating anything below.

Belongs here: the mark on the table, the deletion. Not here: which days a build may replace (dbt_delta/plan.py),
rejecting what still arrives for deleted days (kafka_sinks), removing the files (maintenance).
"""

import json
from datetime import date

from deltalake import CommitProperties, DeltaTable

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.tables import Lake, TableName
from ad_lakehouse.lake.writer import require_writer

RETAINED_FROM = "ad_lakehouse.retained_from"


class NotRetainable(LakehouseError):
    """Retention was asked for a table without days, or for fewer days than it deleted already."""


def retained_from(table: DeltaTable) -> date | None:
    """The first day the table still keeps; None when nothing was deleted by retention."""
    value = table.metadata().configuration.get(RETAINED_FROM)
    return date.fromisoformat(value) if value else None


def retain(lake: Lake, name: TableName, since: date, *, dev: str | None = None) -> int:
    """Deletes the days before `since` and marks the table; returns how many days were deleted.

    The mark comes first: a build that sees it while the days are still there already leaves alone what it could
    no longer compute. Not for dimensions, which are read as a whole. Raises `NotRetainable`, `NotTheWriter`.
    """
    table = lake.open(name, dev=dev)
    require_writer(lake, name, table)
    partitions = table.metadata().partition_columns
    if not partitions:
        raise NotRetainable(f"{name} has no day partition.", remedy="Retention is for tables partitioned by day.")
    marked = retained_from(table)
    if marked and since < marked:
        raise NotRetainable(
            f"{name} keeps the days from {marked} only; they cannot be kept from {since}.",
            remedy="Choose that day or a later one.",
        )
    if marked != since:
        table.alter.set_table_properties({RETAINED_FROM: since.isoformat()}, raise_if_not_exists=False)
    column = partitions[0]
    days = {values[column] for values in table.partitions() if values[column]}
    gone = sorted(day for day in days if str(day) < since.isoformat())
    if gone:
        note = {"kind": "retention", "retained_from": since.isoformat(), "days": len(gone)}
        table.delete(
            f"{column} < '{since.isoformat()}'",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(note)}),
        )
    return len(gone)
