"""Building one table: stage the stale days, compare, check, publish in one commit.

Belongs here: the order of these steps, the commit. Not here: the plan (plan.py, model.py), running the model's SQL
(staging.py), what is checked (quality/).

The handle opened when the plan was made writes the commit, which carries the transaction `build:<table>`: of two
builders of one table one commits, the other plans again and mostly finds nothing left to do.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.dbt_delta.model import NOTHING_ASKED, Model, Request, plan_model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import NOTHING, Plan, Version
from ad_lakehouse.dbt_delta.staging import Staging
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.log import BUILD_KEY, TableLog
from ad_lakehouse.lake.views import Snapshot, literal

ATTEMPTS = 3
# Expired log entries are removed by maintenance, which knows what consumers still need.
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)


class AnotherBuildRuns(LakehouseError):
    """Other builds of the same table committed first, each time."""

    exit_code = 9


class Overtaken(Exception):
    """Another build committed after this one made its plan."""


@dataclass(frozen=True)
class Outcome:
    """What one build did. `days_rebuilt` None: all; `version` None: no commit was needed; `size` in bytes."""

    reason: str
    days_rebuilt: int | None = 0
    days_replaced: int = 0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    version: int | None = None


@dataclass(frozen=True)
class Draft:
    """What a build is about to publish, and the handle that will do it (None: the table is not there yet).

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


class Build:
    """The build of one model on one cursor of its own."""

    def __init__(
        self, model: Model, pins: Pins, cursor: duckdb.DuckDBPyConnection, request: Request = NOTHING_ASKED
    ) -> None:
        self.model, self.pins, self.cursor, self.request = model, pins, cursor, request
        self.staging = Staging(model, cursor)
        self.began = time.monotonic()

    def run(self) -> Outcome:
        """Raises `AnotherBuildRuns`, `ModelError`, `MissingInput`, `BlockedByCheck`; the table is then as before."""
        try:
            for _ in range(ATTEMPTS):
                with suppress(Overtaken):
                    return self.publish(self.stage())
        finally:
            self.staging.drop()
        raise AnotherBuildRuns(
            f"{self.model.name}: other builds committed first, {ATTEMPTS} times in a row.",
            remedy="Wait until they have ended, then build again.",
        )

    def stage(self) -> Draft:
        """Plans and stages; writes nothing to the lake."""
        output = self.pins.lake.open_if_exists(self.model.name, dev=self.pins.dev)
        plan = plan_model(self.model, self.pins, output, self.request)
        draft = Draft(plan, output, self.pins.versions(self.model.inputs))
        if plan.nothing and not plan.advanced:
            return draft
        published = Snapshot.of(self.model.name, output) if output else None
        self.staging.limit_inputs(self.pins, plan)
        rewrites = published is not None and not self.staging.same_shape(published)
        if rewrites and plan.days is not None:
            plan = replace(plan, days=None, reason=f"the model's columns changed; {plan.reason}")
            self.staging.limit_inputs(self.pins, plan)
        if plan.nothing:
            return draft
        self.staging.fill(plan)
        replaced = self.staging.differing(plan, published)
        rows = self.staging.keep(replaced)
        if rows:
            self._check()
        return replace(draft, plan=plan, replaced=replaced, rewrites=rewrites, rows=rows)

    def publish(self, draft: Draft) -> Outcome:
        """One commit, or none when there is nothing to say. Raises `Overtaken`."""
        plan = draft.plan
        outcome = Outcome(
            plan.reason,
            days_rebuilt=None if plan.days is None else len(plan.days),
            days_replaced=len(draft.replaced or ()),
            rows=draft.rows,
            seconds=self.seconds,
        )
        if draft.nothing:
            return outcome
        try:
            table = draft.output or self._create()
            self._write(table, draft, self._note(table, draft, outcome))
        except CommitFailedError:
            raise Overtaken from None
        snapshot = Snapshot.of(self.model.name, table)
        self.pins.built(self.cursor, snapshot)
        commit = TableLog(self.pins.lake, self.model.name, self.pins.dev).commit(snapshot.version)
        return replace(outcome, version=snapshot.version, size=commit.size_added if commit else 0, seconds=self.seconds)

    def _check(self) -> None:
        from ad_lakehouse.dbt_delta.audit import check_staged  # Soda takes a second to load; most builds do nothing

        check_staged(
            self.cursor, f"{self.staging.schema}.{self.model.name.table}", self.model.name, self.request.contracts
        )

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def _create(self) -> DeltaTable:
        table = self.pins.lake.create(
            self.model.name,
            self.staging.arrow_schema(),
            partition_by=[self.model.partition] if self.model.partition else [],
            description=self.model.description,
            dev=self.pins.dev,
        )
        if table.version() > 0:
            raise Overtaken
        return table

    def _write(self, table: DeltaTable, draft: Draft, note: CommitProperties) -> None:
        more: dict[str, Any] = {"commit_properties": note, "post_commithook_properties": KEEP_LOG}
        if draft.rewrites:
            partition = [self.model.partition] if self.model.partition else []
            frozen = Snapshot.of(self.model.name, table) if draft.plan.kept_before else None
            rows = self.staging.rows(frozen, draft.plan.kept_before)
            write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite", partition_by=partition, **more)
        elif draft.replaced == NOTHING:
            empty = pa.schema(table.schema().to_arrow()).empty_table()
            write_deltalake(table, empty, mode="append", **more)
        elif draft.replaced is None:
            write_deltalake(table, self.staging.rows(), mode="overwrite", **more)
        else:
            days = ", ".join(literal(day.isoformat()) for day in sorted(draft.replaced))
            predicate = f"{self.model.partition} in ({days})"
            write_deltalake(table, self.staging.rows(), mode="overwrite", predicate=predicate, **more)

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
