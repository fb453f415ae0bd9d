"""What a build asks of the engine that runs a model's SQL. DuckDB and Spark answer alike.

Belongs here: the protocol, the values that pass between a build and its engine. Not here: either engine
(staging.py, dbt_spark), the order of the steps (store.py).
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from deltalake import DeltaTable

from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Plan, Version
from ad_lakehouse.lake.views import Snapshot


class Overtaken(Exception):
    """Another build committed after this one made its plan."""


@dataclass(frozen=True)
class Draft:
    """What a build is about to publish, and the handle that saw the plan's version (None: no table yet).

    `replaced`: the days whose staged rows go in; None: the table as one piece. `rewrites`: the published table
    has other columns or another partitioning.
    """

    plan: Plan
    output: DeltaTable | None
    inputs: dict[str, Version]
    replaced: frozenset[date] | None = NOTHING
    rewrites: bool = False
    rows: int = 0

    @property
    def nothing(self) -> bool:
        """Neither rows to publish nor versions to record."""
        return self.replaced == NOTHING and not self.rewrites and not self.plan.advanced


@dataclass(frozen=True)
class Note:
    """What the commit says of itself: `text` (JSON), and the Delta transaction that lets one of two builders commit.

    `build` is an id that only this attempt has.
    """

    text: str
    build: str
    app_id: str
    txn_version: int


class Staging(Protocol):
    """The rows of one build of one model, before they are published."""

    engine: str  # as it stands in notes: duckdb, spark
    columns: dict[str, str]  # name → DuckDB type, known once `limit_inputs` has run

    def limit_inputs(self, pins: Pins, plan: Plan) -> None:
        """Gives each input's name just the days that the stale days read, and finds the model's columns.

        Raises `ModelError` for a column that Delta cannot hold.
        """

    def same_shape(self, published: Snapshot) -> bool:
        """Whether the published table has these columns, in any order, and this partitioning."""

    def fill(self, plan: Plan) -> None:
        """Runs the model's SQL for the planned days. Raises `ModelError` for rows without a day."""

    def differing(self, plan: Plan, published: Snapshot | None) -> frozenset[date] | None:
        """The planned days whose rows differ from the published ones; None when a table of one piece differs.

        A published table of another shape differs on every day.
        """

    def keep(self, days: frozenset[date] | None) -> int:
        """Drops the staged rows of all other days; returns how many rows are left."""

    def check(self, contracts: Path | None) -> None:
        """Raises `BlockedByCheck` when the kept rows fail a blocking check of the table's contract."""

    def arrow_schema(self) -> pa.Schema: ...

    def commit(self, table: DeltaTable, draft: Draft, note: Note) -> None:
        """Publishes the kept rows in one commit; `table` is at that version afterwards. Raises `Overtaken`."""

    def show(self, snapshot: Snapshot) -> None:
        """What follows in this run reads this version."""

    def drop(self) -> None:
        """Leaves nothing behind."""
