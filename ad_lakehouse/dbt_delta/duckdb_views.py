"""The DuckDB views through which models read pinned tables.

Belongs here: views of pinned versions, under the names that compiled SQL has. Not here: which versions (pins.py).
Each thread brings its own cursor.
"""

from collections.abc import Collection
from datetime import date

import duckdb

from ad_lakehouse.dbt_delta.inputs import input_name
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import Dependency
from ad_lakehouse.lake.tables import LAYERS
from ad_lakehouse.lake.views import define_view, quoted, reach

INPUT_VIEWS = "select view_name from duckdb_views() where not internal and schema_name = 'main'"


def define_views(cursor: duckdb.DuckDBPyConnection, pins: Pins) -> None:
    """A view for each pinned table, in place of all that was there."""
    reach(cursor, pins.lake)
    for (view,) in cursor.execute(INPUT_VIEWS).fetchall():
        cursor.execute(f"drop view {quoted(view)}")
    for layer in LAYERS:
        cursor.execute(f"drop schema if exists {layer} cascade")
        cursor.execute(f"create schema {layer}")
    for snapshot in pins.pinned():
        define_view(cursor, snapshot)


def define_input(cursor: duckdb.DuckDBPyConnection, pins: Pins, dependency: Dependency) -> None:
    """The view `"layer.table[…]"` of all days, for whoever runs a model's SQL without rebuilding its table.

    Raises `MissingInput`.
    """
    name = pins.read(dependency).name
    cursor.execute(
        f"create or replace view {quoted(input_name(dependency))} as "
        f"select * from {quoted(name.layer)}.{quoted(name.table)}"
    )


def limit_input(
    cursor: duckdb.DuckDBPyConnection, pins: Pins, dependency: Dependency, output: Collection[date] | None
) -> None:
    """The same name on this cursor alone, limited to the days that `output` days read (None: all).

    Raises `MissingInput`.
    """
    snapshot = pins.read(dependency)
    days = None if output is None else dependency.input_days(output)
    cursor.execute(
        f"create or replace temp view {quoted(input_name(dependency))} as "
        + snapshot.query(cursor, snapshot.accepted(days))
    )
