"""The rows of one build, staged in DuckDB before they are published.

Belongs here: running a model's SQL for the stale days, comparing the rows with the published ones.
Not here: what is stale (plan.py), the commit (store.py).

Staged rows stand in a schema of their own as a plain table, so that checks can read them like the published
one; DuckDB spills them to disk when memory is short.
"""

from collections.abc import Collection
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from ad_lakehouse.dbt_delta.columns import check_columns
from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Plan
from ad_lakehouse.lake.views import Snapshot, literal, quoted

ROWS_A_BATCH = 100_000


class Staging:
    """The staged rows of one model, on one cursor of its own."""

    def __init__(self, model: Model, cursor: duckdb.DuckDBPyConnection) -> None:
        self.model, self.cursor = model, cursor
        self.schema = f"staged__{model.name.layer}__{model.name.table}"
        self.table = f"{quoted(self.schema)}.{quoted(model.name.table)}"
        self.columns: dict[str, str] = {}

    def limit_inputs(self, pins: Pins, plan: Plan) -> None:
        """Gives each input's name just the days that the stale days read, and finds the model's columns.

        Raises `ModelError` for a column that Delta cannot hold.
        """
        for dependency in self.model.dependencies:
            pins.limit_input(self.cursor, dependency, plan.days)
        relation = self.cursor.sql(f"select * from ({self.model.sql}\n)")
        check_columns(self.model, list(relation.columns), list(relation.types))
        self.columns = {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def same_shape(self, published: Snapshot) -> bool:
        """Whether the published table has these columns, in any order, and this partitioning."""
        described = self.cursor.execute(f"describe {published.query(self.cursor, [])}").fetchall()
        return published.partition == self.model.partition and {row[0]: row[1] for row in described} == self.columns

    def fill(self, plan: Plan) -> None:
        """Runs the model's SQL for the planned days. Raises `ModelError` for rows without a day."""
        self.drop()  # what an overtaken attempt left
        self.cursor.execute(f"create schema {quoted(self.schema)}")
        if self.model.partition is None:
            self.cursor.execute(f"create table {self.table} as select * from ({self.model.sql}\n)")
            return
        day = quoted(self.model.partition)
        only = "true"
        if plan.days is not None:
            only = f"{day} in ({listed(plan.days)})"
        elif plan.kept_before is not None:
            only = f"{day} >= {listed([plan.kept_before])}"
        self.cursor.execute(
            f"create table {self.table} as select * from ({self.model.sql}\n) where {only} or {day} is null"
        )
        without = self._count(f"{day} is null")
        if without:
            raise ModelError(
                f"{self.model.name}: {without} rows have no {self.model.partition}.",
                remedy="Each row belongs to a day; filter or repair these rows in the model.",
            )

    def differing(self, plan: Plan, published: Snapshot | None) -> frozenset[date] | None:
        """The planned days whose rows differ from the published ones; None when a table of one piece differs.

        A published table of another shape differs on every day.
        """
        new = self._checksums(f"select * from {self.table}")
        files = published.accepted(plan.days) if published else []
        if plan.kept_before:
            files = [file for file in files if file.day is None or file.day >= plan.kept_before]
        if published is None or not self.same_shape(published):
            return (
                None
                if self.model.partition is None
                else frozenset(day for day in {*new, *(file.day for file in files)} if day is not None)
            )
        old = self._checksums(published.query(self.cursor, files))
        differ = {day for day in new.keys() | old.keys() if new.get(day) != old.get(day)}
        if self.model.partition is None:
            return None if differ else NOTHING
        return frozenset(day for day in differ if day is not None)

    def _checksums(self, query: str) -> dict[date | None, tuple[Any, ...]]:
        """Rows and two sums of row hashes for each day, which do not depend on the order of rows or columns."""
        day = quoted(self.model.partition) if self.model.partition else "null::date"
        columns = ", ".join(quoted(name) for name in self.columns)
        rows = self.cursor.execute(
            f"select day, count(*), sum(hashed::hugeint), bit_xor(hashed) from "
            f"(select {day} as day, hash({columns}) as hashed from ({query})) group by day"
        ).fetchall()
        return {row[0]: row[1:] for row in rows}

    def keep(self, days: frozenset[date] | None) -> int:
        """Drops the staged rows of all other days; returns how many rows are left."""
        if days is not None:
            day = quoted(self.model.partition or "")
            self.cursor.execute(
                f"delete from {self.table} where " + (f"{day} not in ({listed(days)})" if days else "true")
            )
        return self._count("true")

    def rows(self, frozen: Snapshot | None = None, before: date | None = None) -> pa.RecordBatchReader:
        """The staged rows; with `frozen` also its days before `before`, cast to the model's columns."""
        query = f"select * from {self.table}"
        if frozen is not None and before is not None:
            files = [file for file in frozen.files if file.day and file.day < before]
            columns = ", ".join(
                f"cast({quoted(name)} as {kind}) as {quoted(name)}" for name, kind in self.columns.items()
            )
            if files:
                query = f"select {columns} from ({query} union all by name {frozen.query(self.cursor, files)})"
        order = [*([self.model.partition] if self.model.partition else []), *self.model.sort_by]
        by = f" order by {', '.join(map(quoted, order))}" if order else ""
        # A cursor of its own: DuckDB refuses other work on one that is being read.
        return self.cursor.cursor().sql(f"{query}{by}").to_arrow_reader(ROWS_A_BATCH)

    def arrow_schema(self) -> pa.Schema:
        return self.cursor.sql(f"select * from {self.table} limit 0").to_arrow_table().schema

    def _count(self, condition: str) -> int:
        # fetchall: DuckDB refuses other work on a cursor with an unread rest
        return int(self.cursor.execute(f"select count(*) from {self.table} where {condition}").fetchall()[0][0])

    def drop(self) -> None:
        self.cursor.execute(f"drop schema if exists {quoted(self.schema)} cascade")


def listed(days: Collection[date]) -> str:
    """SQL literals of days."""
    return ", ".join(f"date {literal(day.isoformat())}" for day in sorted(days))
