"""Building one table: stage the stale days, compare, check, publish in one commit.

Belongs here: everything between a plan and a commit. Not here: the plan (plan.py, model.py), SQL (dbt_project),
what is checked (quality/).

The handle opened when the plan was made writes the commit, which carries the transaction `build:<table>`: of two
builders of one table one commits, the other plans again and mostly finds nothing left to do.
"""

import json
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.dbt_delta.audit import check_staged
from ad_lakehouse.dbt_delta.columns import check_columns
from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model, plan_model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Plan, Version
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.log import BUILD_KEY, TableLog
from ad_lakehouse.lake.views import Snapshot, literal, quoted

ATTEMPTS = 3
ROWS_A_BATCH = 100_000
# Expired log entries are removed by maintenance, which knows what consumers still need.
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)


class AnotherBuildRuns(LakehouseError):
    """Other builds of the same table committed first, each time."""

    exit_code = 9


class Overtaken(Exception):
    """Another build committed after this one made its plan."""


@dataclass(frozen=True)
class Outcome:
    """What one build did. `days_rebuilt` None: all; `version` None: no commit was needed."""

    reason: str
    days_rebuilt: int | None = 0
    days_replaced: int = 0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    version: int | None = None


@dataclass
class Draft:
    """Rows staged in DuckDB and what is to be done with them."""

    plan: Plan
    output: DeltaTable | None
    published: Snapshot | None
    columns: dict[str, str]
    replaced: frozenset[date] | None  # None: the table as one piece
    rows: int
    inputs: dict[str, Version]


class Build:
    """The build of one model on one cursor of its own."""

    def __init__(
        self, model: Model, pins: Pins, cursor: duckdb.DuckDBPyConnection, *, full_refresh: bool = False
    ) -> None:
        self.model, self.pins, self.cursor, self.full_refresh = model, pins, cursor, full_refresh
        self.began = time.monotonic()
        self.schema = f"staged__{model.name.layer}__{model.name.table}"
        self.staged = f"{quoted(self.schema)}.{quoted(model.name.table)}"

    def run(self) -> Outcome:
        """Raises `AnotherBuildRuns`, `ModelError`, `MissingInput`, `BlockedByCheck`; the table is then as before."""
        for _ in range(ATTEMPTS):
            with suppress(Overtaken):
                return self.publish(self.stage())
        raise AnotherBuildRuns(
            f"{self.model.name}: other builds committed first, {ATTEMPTS} times in a row.",
            remedy="Wait until they have ended, then build again.",
        )

    def stage(self) -> Draft:
        """Plans and stages, writes nothing to the lake."""
        model, cursor = self.model, self.cursor
        output = self.pins.lake.open_if_exists(model.name, dev=self.pins.dev)
        plan = plan_model(model, self.pins, output, full_refresh=self.full_refresh)
        published = Snapshot.of(model.name, output) if output else None
        inputs = self.pins.versions(model.inputs)
        draft = Draft(plan, output, published, {}, NOTHING, 0, inputs)
        if plan.nothing and not plan.advanced:
            return draft
        self._limit_inputs(plan)
        draft.columns = self._columns()
        same = published is not None and published.partition == model.partition and self._same_columns(published, draft)
        if not same and plan.days is not None:
            plan = draft.plan = replace(plan, days=None, reason=f"its columns changed; {plan.reason}")
            self._limit_inputs(plan)
        if not plan.nothing:
            self._stage_rows(plan)
            draft.replaced = self._differing(plan, published if same else None, published)
            draft.rows = self._drop_equal(draft.replaced)
            if draft.rows:
                check_staged(cursor, f"{self.schema}.{model.name.table}", model.name)
        return draft

    def _limit_inputs(self, plan: Plan) -> None:
        for dependency in self.model.dependencies:
            self.pins.limit_input(self.cursor, dependency, plan.days)

    def _columns(self) -> dict[str, str]:
        relation = self.cursor.sql(f"select * from ({self.model.sql}\n)")
        check_columns(self.model, list(relation.columns), list(relation.types))
        return {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def _same_columns(self, published: Snapshot, draft: Draft) -> bool:
        described = self.cursor.execute(f"describe {published.query(self.cursor, [])}").fetchall()
        return {row[0]: row[1] for row in described} == draft.columns

    def _stage_rows(self, plan: Plan) -> None:
        only = ""
        if self.model.partition:
            column = quoted(self.model.partition)
            days = "" if plan.days is None else f"{column} in ({listed(plan.days)})"
            kept = f"{column} >= date {literal(str(plan.kept_before))}" if plan.kept_before else ""
            chosen = days or kept
            only = f" where {chosen} or {column} is null" if chosen else ""
        self.cursor.execute(f"create or replace schema {quoted(self.schema)}")
        self.cursor.execute(f"create table {self.staged} as select * from ({self.model.sql}\n){only}")
        if self.model.partition:
            without = count(self.cursor, f"select count(*) from {self.staged} where {column} is null")
            if without:
                raise ModelError(
                    f"{self.model.name}: {without} rows have no {self.model.partition}.",
                    remedy="Each row belongs to a day; filter or repair these rows in the model.",
                )

    def _differing(self, plan: Plan, comparable: Snapshot | None, published: Snapshot | None) -> frozenset[date] | None:
        """The days whose rows differ from the published ones; None for a differing table of one piece."""
        files = (published.accepted(plan.days) if plan.days is not None else published.accepted()) if published else []
        if plan.kept_before:
            files = [file for file in files if file.day is None or file.day >= plan.kept_before]
        new = self._checksums(f"select * from {self.staged}")
        if comparable is None:
            days = {*new, *(file.day for file in files)}
            return frozenset(day for day in days if day) if self.model.partition else None
        old = self._checksums(comparable.query(self.cursor, files))
        differing = {day for day in new.keys() | old.keys() if new.get(day) != old.get(day)}
        if self.model.partition is None:
            return None if differing else NOTHING
        return frozenset(day for day in differing if day)

    def _checksums(self, query: str) -> dict[date | None, tuple[Any, ...]]:
        """Count and two sums of row hashes a day, independent of the order of rows; columns by name."""
        day = quoted(self.model.partition) if self.model.partition else "null::date"
        columns = ", ".join(quoted(name) for name in sorted(self._columns()))
        rows = self.cursor.execute(
            f"select day, count(*), sum(hashed::hugeint), bit_xor(hashed) from "
            f"(select {day} as day, hash({columns}) as hashed from ({query})) group by day"
        ).fetchall()
        return {row[0]: row[1:] for row in rows}

    def _drop_equal(self, replaced: frozenset[date] | None) -> int:
        if replaced is not None:
            only = (
                f"{quoted(self.model.partition)} not in ({listed(replaced)})"
                if replaced and self.model.partition
                else "true"
            )
            self.cursor.execute(f"delete from {self.staged} where {only}")
        return count(self.cursor, f"select count(*) from {self.staged}")

    def publish(self, draft: Draft) -> Outcome:
        """One commit, or none when there is nothing to say. Raises `Overtaken`."""
        plan = draft.plan
        if plan.nothing and not plan.advanced:
            return Outcome(plan.reason, seconds=self.seconds)
        outcome = Outcome(
            plan.reason,
            days_rebuilt=None if plan.days is None else len(plan.days),
            days_replaced=0 if draft.replaced is None else len(draft.replaced),
            rows=draft.rows,
            seconds=self.seconds,
        )
        try:
            table = draft.output or self._create(draft)
            self._write(table, draft, self._note(table, draft, outcome))
        except CommitFailedError:
            raise Overtaken from None
        finally:
            self.cursor.execute(f"drop schema if exists {quoted(self.schema)} cascade")
        snapshot = Snapshot.of(self.model.name, table)
        self.pins.built(snapshot)
        self.pins.define_view(self.cursor, self.model.name)
        commit = TableLog(self.pins.lake, self.model.name, self.pins.dev).commit(snapshot.version)
        return replace(outcome, version=snapshot.version, size=commit.size_added if commit else 0, seconds=self.seconds)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def _create(self, draft: Draft) -> DeltaTable:
        table = self.pins.lake.create(
            self.model.name,
            self._rows(draft, "limit 0").read_all().schema,
            partition_by=[self.model.partition] if self.model.partition else [],
            description=self.model.description,
            dev=self.pins.dev,
        )
        if table.version() > 0:
            raise Overtaken
        return table

    def _rows(self, draft: Draft, more: str = "") -> pa.RecordBatchReader:
        """The staged rows, and, when the table is rewritten, its frozen days in the new columns."""
        query = f"select * from {self.staged}"
        if self._rewrites(draft) and draft.published and draft.plan.kept_before:
            kept = [file for file in draft.published.files if file.day and file.day < draft.plan.kept_before]
            if kept and draft.published.partition == self.model.partition:
                query += f" union all by name ({draft.published.query(self.cursor, kept)})"
                names = ", ".join(f"cast({quoted(n)} as {k}) as {quoted(n)}" for n, k in draft.columns.items())
                query = f"select {names} from ({query})"
        order = [
            quoted(each) for each in ((self.model.partition,) if self.model.partition else ()) + self.model.sort_by
        ]
        by = f" order by {', '.join(order)}" if order else ""
        # a cursor of its own, for it is read while this one goes on
        return self.cursor.cursor().sql(f"select * from ({query}){by} {more}").to_arrow_reader(ROWS_A_BATCH)

    def _rewrites(self, draft: Draft) -> bool:
        """Whether the columns or the partitioning differ from the published ones."""
        published = draft.published
        return published is not None and not (
            published.partition == self.model.partition and self._same_columns(published, draft)
        )

    def _write(self, table: DeltaTable, draft: Draft, note: CommitProperties) -> None:
        more: dict[str, Any] = {"commit_properties": note, "post_commithook_properties": KEEP_LOG}
        if draft.replaced == NOTHING and not (draft.plan.days is None and self._rewrites(draft)):
            empty = pa.schema(table.schema().to_arrow()).empty_table()
            write_deltalake(table, empty, mode="append", **more)
        elif self._rewrites(draft):
            partition = [self.model.partition] if self.model.partition else []
            write_deltalake(
                table, self._rows(draft), mode="overwrite", schema_mode="overwrite", partition_by=partition, **more
            )
        elif draft.replaced is None:
            write_deltalake(table, self._rows(draft), mode="overwrite", **more)
        else:
            predicate = f"{self.model.partition} in ({listed(draft.replaced, kind='')})"
            write_deltalake(table, self._rows(draft), mode="overwrite", predicate=predicate, **more)

    def _note(self, table: DeltaTable, draft: Draft, outcome: Outcome) -> CommitProperties:
        """What the commit says of itself; the next plan reads `code` and `inputs`, people and Dagster the rest."""
        days = sorted(draft.replaced or ())
        note = {
            "kind": "build",
            "code": self.model.code,
            "inputs": {name: {"id": each.id, "version": each.version} for name, each in draft.inputs.items()},
            "reason": outcome.reason,
            "days_rebuilt": outcome.days_rebuilt,
            "days_replaced": outcome.days_replaced,
            "first_day": str(days[0]) if days else None,
            "last_day": str(days[-1]) if days else None,
            "rows": outcome.rows,
            "seconds": outcome.seconds,
        }
        return CommitProperties(
            custom_metadata={BUILD_KEY: json.dumps(note)},
            app_transactions=[Transaction(f"build:{self.model.name}", table.version() + 1)],
        )


def listed(days: Collection[date], kind: str = "date ") -> str:
    return ", ".join(f"{kind}{literal(day.isoformat())}" for day in sorted(days))


def count(cursor: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(cursor.execute(query).fetchall()[0][0])  # fetchall: DuckDB refuses a cursor with an unread rest
