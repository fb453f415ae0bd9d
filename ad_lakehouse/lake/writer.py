"""Which engine may write a table: on an object store only one.

Belongs here: the mark on a table, the refusal, the handover. Not here: who calls them (dbt_delta, retention, cli).

delta-rs puts a log entry on an object store only if it is absent, and so does a Spark that this product starts
(dbt_spark/scala). Any other Spark may overwrite it, as Delta's own log store for S3 does: then acknowledged commits are
lost. On a local disk nobody overwrites, so there any engine may write.
"""

from deltalake import DeltaTable

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.tables import Lake, TableName

WRITER = "ad_lakehouse.writer"
DELTA_RS = "duckdb"  # the engine whose commits delta-rs makes, as those of landing and maintenance


class NotTheWriter(LakehouseError):
    """Another engine is the one that writes this table."""

    exit_code = 16


def initial_writer(lake: Lake, engine: str) -> dict[str, str]:
    """The properties of a new table that says who writes it."""
    return {} if lake.is_local else {WRITER: engine}


def writer_of(lake: Lake, table: DeltaTable) -> str | None:
    """The one engine that may write; None when any may. A table of an object store that does not say: delta-rs."""
    named = table.metadata().configuration.get(WRITER)
    return named or (None if lake.is_local else DELTA_RS)


def require_writer(lake: Lake, name: TableName, table: DeltaTable, engine: str = DELTA_RS) -> None:
    """Raises `NotTheWriter` when `engine` may not write the table."""
    writer = writer_of(lake, table)
    if writer not in (None, engine):
        raise NotTheWriter(
            f"{name} is written by {writer}; {engine} beside it could lose commits.",
            remedy=f"Build with {writer}, or when no build runs: ad-lakehouse handover --to {engine} {name}",
        )


def hand_over(lake: Lake, name: TableName, engine: str) -> bool:
    """Makes `engine` the table's only writer; returns whether it was not before. For when no build runs.

    Raises `NotTheWriter` when a build that ran nevertheless has overwritten the commit.
    """
    table = lake.open(name)
    if table.metadata().configuration.get(WRITER) == engine:
        return False
    table.alter.set_table_properties({WRITER: engine}, raise_if_not_exists=False)
    if writer_of(lake, lake.open(name)) != engine:
        raise NotTheWriter(
            f"{name} could not be handed over to {engine}: another engine has written it meanwhile.",
            remedy="End the build that runs, then hand over again.",
        )
    return True
