"""The rows of one build on Spark: staged, compared, checked, committed by Spark.

Belongs here: what `engine.Staging` asks, in SQL, so that it runs in a session of this process and on a remote cluster
alike. Not here: what is stale (dbt_delta/plan.py), the order of steps (dbt_delta/store.py), the connection.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import pyarrow as pa
from dbt_common.exceptions import DbtDatabaseError
from deltalake import DeltaTable

from ad_lakehouse.dbt_delta.audit import check_staged
from ad_lakehouse.dbt_delta.engine import Draft, Note, Overtaken
from ad_lakehouse.dbt_delta.inputs import SPARK, input_name
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Dependency, Plan
from ad_lakehouse.dbt_delta.staging import (
    all_days,
    days_that_differ,
    files_to_replace,
    listed,
    planned,
    without_day,
)
from ad_lakehouse.dbt_spark.audit import SparkDatabase
from ad_lakehouse.dbt_spark.types import arrow_schema
from ad_lakehouse.lake.log import Commit, TableLog
from ad_lakehouse.lake.views import Snapshot, duckdb_type
from ad_lakehouse.quality.database import Rows

Execute = Callable[[str], Rows]  # one statement
STAGED = "staged"
FAST_TO_WRITE = "('parquet.enable.dictionary' 'false', compression 'lz4_raw')"  # the files are gone after the build
COMMIT = {
    "spark.databricks.delta.commitInfo.userMetadata",
    "spark.databricks.delta.write.txnAppId",
    "spark.databricks.delta.write.txnVersion",
}
# Of Delta's exceptions on a concurrent commit: all of them begin so.
CONCURRENT = ("DELTA_CONCURRENT_", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")
# The notes of a commit are settings of the whole session, which all threads of dbt share.
ONE_COMMIT = Lock()


class SparkStaging:
    """The staged rows of one model, as a table of the database `staged`.

    Not a cached query: Spark takes such a cache only for a query that nests the same one, and computes it again under
    a CTE, which every check has.
    """

    engine = SPARK

    def __init__(self, model: Model, pins: Pins, execute: Execute, *, local: bool = True) -> None:
        """`execute` runs one statement; `local`: Spark runs in this process alone, not on a cluster."""
        self.model, self.pins, self.execute, self.local = model, pins, execute, local
        name = f"{model.name.layer}__{model.name.table}__{uuid4().hex[:12]}"
        self.staged, self.kept = ticked(name), f"{name}__kept"
        self.columns: dict[str, str] = {}
        self._schema = pa.schema([])
        self._made: list[str] = []  # what there is to drop: table X, view Y
        self._days: dict[date | None, tuple[Any, ...]] = {}  # of the staged rows: rows and sums of hashes

    def run(self, sql: str) -> Sequence[Sequence[Any]]:
        return self.execute(sql).fetchall()

    def limit_inputs(self, pins: Pins, plan: Plan) -> None:
        self._forget()  # what an overtaken attempt left
        for dependency in self.model.dependencies:
            name = ticked(self._own_name(dependency))
            self.run(f"create or replace temp view {name} as {pinned_rows(pins, dependency, plan.days)}")
            self._made.append(f"view {name}")
        described = self.run(f"describe query select * from ({self.sql}\n)")
        self._schema = arrow_schema(self.model, {row[0]: row[1] for row in described})
        self.columns = {field.name: duckdb_type(field.type) for field in self._schema}

    def _own_name(self, dependency: Dependency) -> str:
        """Threads share one session, and models read different days of one input."""
        return f"{self.model.name} reads {input_name(dependency)}"

    @property
    def sql(self) -> str:
        sql = self.model.sql
        for dependency in self.model.dependencies:
            sql = sql.replace(ticked(input_name(dependency)), ticked(self._own_name(dependency)))
        return sql

    def same_shape(self, published: Snapshot) -> bool:
        return published.partition == self.model.partition and published.columns == self.columns

    def fill(self, plan: Plan) -> None:
        only = "true"
        if self.model.partition is not None:
            day = ticked(self.model.partition)
            only = f"({planned(plan, day)} or {day} is null)"
        self._made.append(f"table {STAGED}.{self.staged}")
        self.run(f"create database if not exists {STAGED}{self._location()}")
        self.run(
            f"create table {STAGED}.{self.staged} using parquet options {FAST_TO_WRITE} "
            f"as select * from ({self.sql}\n) where {only}"
        )
        self._days = self._checksums(f"{STAGED}.{self.staged}")
        if self.model.partition is not None and None in self._days:
            raise without_day(self.model, self._days[None][0])

    def differing(self, plan: Plan, published: Snapshot | None) -> frozenset[date] | None:
        if published is None or not self.same_shape(published):
            return all_days(self.model, {*self._days, *(file.day for file in files_to_replace(plan, published))})
        old = f"(select * from {self._version(published)} where {self._planned(plan)})"
        return days_that_differ(self.model, self._days, self._checksums(old))

    def _planned(self, plan: Plan) -> str:
        return planned(plan, ticked(self.model.partition)) if self.model.partition else "true"

    def _version(self, published: Snapshot) -> str:
        return version_of(self.pins.lake.uri(self.model.name, self.pins.dev), published.version)

    def _checksums(self, relation: str) -> dict[date | None, tuple[Any, ...]]:
        """Rows and two sums of row hashes for each day, which do not depend on the order of rows or columns.

        Spark's hash passes over nulls, so that (null, 'a') would equal ('a', null): each null is told apart, in lists
        by writing them out.
        """
        day = ticked(self.model.partition) if self.model.partition else "cast(null as date)"
        hashed = {
            name: f"to_json({ticked(name)})" if kind.endswith("[]") else ticked(name)
            for name, kind in sorted(self.columns.items())
        }
        values = ", ".join(f"{value}, {ticked(name)} is null" for name, value in hashed.items())
        rows = self.run(
            f"select day, count(*), sum(cast(hashed as decimal(38, 0))), bit_xor(hashed) "
            f"from (select {day} as day, xxhash64({values}) as hashed from {relation}) group by day"
        )
        return {as_date(row[0]): tuple(row[1:]) for row in rows}

    def keep(self, days: frozenset[date] | None) -> int:
        day = ticked(self.model.partition or "")
        only = "true" if days is None else f"{day} in ({listed(days)})" if days else "false"
        kept = f"{STAGED}.{ticked(self.kept)}"
        self._made.append(f"view {kept}")
        self.run(f"create view {kept} as select * from {STAGED}.{self.staged} where {only}")
        return sum(found[0] for day, found in self._days.items() if days is None or day in days)

    def check(self, contracts: Path | None) -> None:
        database = SparkDatabase(self.execute, self.columns)
        check_staged(database, f"{STAGED}.{self.kept}", self.model.name, contracts)

    def arrow_schema(self) -> pa.Schema:
        return self._schema

    def commit(self, table: DeltaTable, draft: Draft, note: Note) -> None:
        seen = table.version()
        values = dict(zip(sorted(COMMIT), (note.text, note.app_id, str(note.txn_version)), strict=True))
        statement = self._statement(table, draft)
        with ONE_COMMIT:
            self._require_unchanged(seen)
            try:
                for name, value in values.items():
                    self.run(f"set {ticked(name)}={ticked(value)}")
                self.run(statement)
            except Exception as error:
                if self._committed(seen, note) is None:  # else only the answer was lost
                    if any(kind in str(error) for kind in CONCURRENT):
                        raise Overtaken from error
                    raise
            finally:
                for name in values:
                    with suppress(DbtDatabaseError):
                        self.run(f"reset {name}")
        version = self._committed(seen, note)
        if version is None:  # Delta passes over a write whose transaction somebody else committed
            raise Overtaken
        table.load_as_version(version)

    def _since(self, seen: int) -> list[Commit]:
        name, dev = self.model.name, self.pins.dev
        newest = self.pins.lake.open(name, dev=dev).version()
        return TableLog(self.pins.lake, name, dev).since(seen, newest) or []

    def _committed(self, seen: int, note: Note) -> int | None:
        """The version that this attempt made, if it did."""
        return next((each.version for each in self._since(seen) if each.note.get("build") == note.build), None)

    def _require_unchanged(self, seen: int) -> None:
        """Raises `Overtaken` for rows deleted or properties changed meanwhile; compaction is neither.

        Spark begins at the newest version, not at the one that was planned with, and only builds have a transaction.
        """
        for commit in self._since(seen):
            if commit.changed_files() or any("metaData" in action for action in commit.actions):
                raise Overtaken
            if commit.note.get("kind") == "retention":
                raise Overtaken

    def _statement(self, table: DeltaTable, draft: Draft) -> str:
        names = self.columns if draft.rewrites else [field.name for field in table.schema().fields]
        rows = f"select {', '.join(map(ticked, names))} from {STAGED}.{ticked(self.kept)}"
        target = located(self.pins.lake.uri(self.model.name, self.pins.dev))
        if draft.rewrites:
            return self._replacement(target, table, draft, rows)
        if draft.replaced == NOTHING:
            return f"insert into {target} select * from {target} where false"
        if draft.replaced is None:
            return f"insert overwrite {target} {rows}"
        where = f"{ticked(self.model.partition or '')} in ({listed(draft.replaced)})"
        return f"insert into {target} replace where {where} {self._laid_out(rows)}"

    def _replacement(self, target: str, table: DeltaTable, draft: Draft, rows: str) -> str:
        """Another shape: all rows anew, those of frozen days cast to it. Spark gives the table another id."""
        metadata = table.metadata()
        before = draft.plan.kept_before
        if before is not None and self.model.partition in metadata.partition_columns:
            there = {field.name for field in table.schema().fields}
            casts = ", ".join(
                f"cast({ticked(name) if name in there else 'null'} as {spark_type(kind)}) as {ticked(name)}"
                for name, kind in self.columns.items()
            )
            old = version_of(self.pins.lake.uri(self.model.name, self.pins.dev), table.version())
            rows += f" union all select {casts} from {old} where {ticked(self.model.partition)} < {listed([before])}"
        properties = ", ".join(
            f"{spark_text(key)}={spark_text(value)}" for key, value in metadata.configuration.items()
        )
        clauses = [f"partitioned by ({ticked(self.model.partition)})"] if self.model.partition else []
        clauses += [f"comment {spark_text(metadata.description)}"] if metadata.description else []
        clauses += [f"tblproperties ({properties})"] if properties else []
        return f"create or replace table {target} using delta {' '.join(clauses)} as {self._laid_out(rows)}"

    def _laid_out(self, rows: str) -> str:
        """Rows of a day come together in files of a fitting size, ordered as the model wants."""
        order = [*([self.model.partition] if self.model.partition else []), *self.model.sort_by]
        if not order:
            return rows
        together = f"select /*+ rebalance({ticked(self.model.partition)}) */ *" if self.model.partition else "select *"
        return f"select * from ({together} from ({rows})) sort by {', '.join(map(ticked, order))}"

    def show(self, snapshot: Snapshot) -> None:
        """Models read pinned versions by address: there is nothing to do."""

    def drop(self) -> None:
        self._forget()

    def _forget(self) -> None:
        while self._made:
            kind, _, name = self._made.pop().partition(" ")
            with suppress(DbtDatabaseError):  # what ended the build, as a lost connection, is the error to tell
                self.run(f"drop {kind} if exists {name}")

    def _location(self) -> str:
        """Where a cluster's workers all can write; in one process the session's own temporary folder is enough."""
        if self.local:
            return ""
        lake = self.pins.lake.uri(self.model.name).removesuffix(f"/{self.model.name.layer}/{self.model.name.table}")
        return f" location {spark_text(f'{hadoop(lake)}/_staged')}"


def pinned_rows(pins: Pins, dependency: Dependency, output: Collection[date] | None) -> str:
    """A SELECT of the days that `output` days (None: all) read of an input. Raises `MissingInput`."""
    snapshot = pins.read(dependency)
    days = None if output is None else dependency.input_days(output)
    if days is None:
        return all_rows(pins, snapshot)
    return all_rows(pins, snapshot) + (
        f" and {ticked(snapshot.partition)} in ({listed(days)})" if days else " and false"
    )


def all_rows(pins: Pins, snapshot: Snapshot) -> str:
    """A SELECT of the accepted rows of a pinned table; it ends in a condition."""
    partition = f"{ticked(snapshot.partition)} is not null" if snapshot.partition else "true"
    return f"select * from {version_of(pins.uri(snapshot.name), snapshot.version)} where {partition}"


def version_of(uri: str, version: int) -> str:
    return f"{located(uri)} version as of {version}"


def located(uri: str) -> str:
    """A table by its address."""
    return f"delta.{ticked(hadoop(uri))}"


def hadoop(uri: str) -> str:
    """An address as Hadoop writes it, which has another name for S3."""
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri


def ticked(name: str | None) -> str:
    """A quoted identifier."""
    return "`" + (name or "").replace("`", "``") + "`"


def spark_text(text: str) -> str:
    """A string literal of Spark, which knows escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def spark_type(kind: str) -> str:
    """Spark's name of a DuckDB type of a column of ours."""
    if kind.endswith("[]"):
        return f"array<{spark_type(kind.removesuffix('[]'))}>"
    return {"varchar": "string", "timestamptz": "timestamp", "integer": "int", "blob": "binary"}.get(kind, kind)


def as_date(value: Any) -> date | None:
    """A day as the connection gives it: a date, or text from a Thrift server."""
    return date.fromisoformat(value) if isinstance(value, str) else value
