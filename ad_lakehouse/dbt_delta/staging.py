"""The rows of one build on DuckDB: staged, compared, checked, committed through delta-rs.

Belongs here: what `engine.Staging` asks, for DuckDB. Not here: what is stale (plan.py), the order of steps (store.py).

Staged rows stand in a schema of their own as a plain table, so that checks can read them like the published
one; DuckDB spills them to disk when memory is short.
"""

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.dbt_delta.columns import check_columns
from ad_lakehouse.dbt_delta.duckdb_views import limit_input
from ad_lakehouse.dbt_delta.engine import Draft, Note, Overtaken
from ad_lakehouse.dbt_delta.inputs import DUCKDB, ModelError
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Plan
from ad_lakehouse.lake.log import BUILD_KEY
from ad_lakehouse.lake.views import DataFile, Snapshot, define_view, literal, quoted

ROWS_A_BATCH = 100_000
# Expired log entries are removed by maintenance, which knows what consumers still need.
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)


class DuckDBStaging:
    """The staged rows of one model, on one cursor of its own."""

    engine = DUCKDB

    def __init__(self, model: Model, cursor: duckdb.DuckDBPyConnection) -> None:
        self.model, self.cursor = model, cursor
        self.schema = f"staged__{model.name.layer}__{model.name.table}"
        self.table = f"{quoted(self.schema)}.{quoted(model.name.table)}"
        self.columns: dict[str, str] = {}

    def limit_inputs(self, pins: Pins, plan: Plan) -> None:
        for dependency in self.model.dependencies:
            limit_input(self.cursor, pins, dependency, plan.days)
        relation = self.cursor.sql(f"select * from ({self.model.sql}\n)")
        check_columns(self.model, list(relation.columns), list(relation.types))
        self.columns = {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def same_shape(self, published: Snapshot) -> bool:
        described = self.cursor.execute(f"describe {published.query(self.cursor, [])}").fetchall()
        return published.partition == self.model.partition and {row[0]: row[1] for row in described} == self.columns

    def fill(self, plan: Plan) -> None:
        self.drop()  # what an overtaken attempt left
        self.cursor.execute(f"create schema {quoted(self.schema)}")
        if self.model.partition is None:
            self.cursor.execute(f"create table {self.table} as select * from ({self.model.sql}\n)")
            return
        day = quoted(self.model.partition)
        only = planned(plan, day)
        self.cursor.execute(
            f"create table {self.table} as select * from ({self.model.sql}\n) where {only} or {day} is null"
        )
        if without := self._count(f"{day} is null"):
            raise without_day(self.model, without)

    def differing(self, plan: Plan, published: Snapshot | None) -> frozenset[date] | None:
        new = self._checksums(f"select * from {self.table}")
        files = files_to_replace(plan, published)
        if published is None or not self.same_shape(published):
            return all_days(self.model, {*new, *(file.day for file in files)})
        return days_that_differ(self.model, new, self._checksums(published.query(self.cursor, files)))

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
        if days is not None:
            day = quoted(self.model.partition or "")
            self.cursor.execute(
                f"delete from {self.table} where " + (f"{day} not in ({listed(days)})" if days else "true")
            )
        return self._count("true")

    def check(self, contracts: Path | None) -> None:
        from ad_lakehouse.dbt_delta.audit import check_staged  # Soda takes a second to load; most builds do nothing

        check_staged(self.cursor, f"{self.schema}.{self.model.name.table}", self.model.name, contracts)

    def commit(self, table: DeltaTable, draft: Draft, note: Note) -> None:
        properties = CommitProperties(
            custom_metadata={BUILD_KEY: note.text},
            app_transactions=[Transaction(note.app_id, note.txn_version)],
        )
        more: dict[str, Any] = {"commit_properties": properties, "post_commithook_properties": KEEP_LOG}
        try:
            self._write(table, draft, more)
        except CommitFailedError:
            raise Overtaken from None

    def _write(self, table: DeltaTable, draft: Draft, more: dict[str, Any]) -> None:
        if draft.rewrites:
            partition = [self.model.partition] if self.model.partition else []
            frozen = Snapshot.of(self.model.name, table) if draft.plan.kept_before else None
            rows = self.rows(frozen, draft.plan.kept_before)
            write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite", partition_by=partition, **more)
        elif draft.replaced == NOTHING:
            empty = pa.schema(table.schema().to_arrow()).empty_table()
            write_deltalake(table, empty, mode="append", **more)
        elif draft.replaced is None:
            write_deltalake(table, self.rows(), mode="overwrite", **more)
        else:
            days = ", ".join(literal(day.isoformat()) for day in sorted(draft.replaced))
            predicate = f"{self.model.partition} in ({days})"
            write_deltalake(table, self.rows(), mode="overwrite", predicate=predicate, **more)

    def show(self, snapshot: Snapshot) -> None:
        define_view(self.cursor, snapshot)

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


def planned(plan: Plan, day: str) -> str:
    """SQL: the rows of the planned days; `day` is the quoted day column."""
    if plan.days is not None:
        return f"{day} in ({listed(plan.days)})"
    return f"{day} >= {listed([plan.kept_before])}" if plan.kept_before is not None else "true"


def without_day(model: Model, rows: int) -> ModelError:
    return ModelError(
        f"{model.name}: {rows} rows have no {model.partition}.",
        remedy="Each row belongs to a day; filter or repair these rows in the model.",
    )


def files_to_replace(plan: Plan, published: Snapshot | None) -> list[DataFile]:
    """The published files of the planned days."""
    files = published.accepted(plan.days) if published else []
    return [file for file in files if plan.kept_before is None or file.day is None or file.day >= plan.kept_before]


def all_days(model: Model, days: Collection[date | None]) -> frozenset[date] | None:
    return None if model.partition is None else frozenset(day for day in days if day is not None)


def days_that_differ(
    model: Model, new: Mapping[date | None, Any], old: Mapping[date | None, Any]
) -> frozenset[date] | None:
    """From a checksum for each day; a table of one piece has one for the day None."""
    differ = {day for day in new.keys() | old.keys() if new.get(day) != old.get(day)}
    return all_days(model, differ) if model.partition or differ else NOTHING


def listed(days: Collection[date]) -> str:
    """SQL literals of days."""
    return ", ".join(f"date {literal(day.isoformat())}" for day in sorted(days))
