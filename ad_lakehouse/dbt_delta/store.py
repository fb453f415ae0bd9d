"""Building one table: stage the stale days, compare, check, publish in one commit.

Belongs here: the order of these steps, what the commit says of itself. Not here: the plan (plan.py, model.py),
running the model's SQL and committing (an engine: staging.py, dbt_spark), what is checked (quality/).

The commit carries the transaction `build:<table>` with the number after the one that the plan saw: of two builders
of one table one commits, whatever their engines, the other plans again and mostly finds nothing left to do.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import uuid4

from deltalake import DeltaTable

from ad_lakehouse.dbt_delta.engine import Draft, Note, Overtaken, Staging
from ad_lakehouse.dbt_delta.model import NOTHING_ASKED, Model, Request, plan_model
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import Snapshot
from ad_lakehouse.lake.writer import initial_writer, require_writer

ATTEMPTS = 3


class AnotherBuildRuns(LakehouseError):
    """Other builds of the same table committed first, each time."""

    exit_code = 9


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


class Build:
    """The build of one model on one engine."""

    def __init__(self, model: Model, pins: Pins, staging: Staging, request: Request = NOTHING_ASKED) -> None:
        self.model, self.pins, self.staging, self.request = model, pins, staging, request
        self.began = time.monotonic()

    def run(self) -> Outcome:
        """The table is as before when one of these is raised: `AnotherBuildRuns`, `ModelError`, `MissingInput`,
        `BlockedByCheck`, `NotTheWriter`.
        """
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
        if output is not None:
            require_writer(self.pins.lake, self.model.name, output, self.staging.engine)
        plan = plan_model(self.model, self.pins, output, self.request)
        draft = Draft(plan, output, dict(plan.inputs))
        if plan.nothing and not plan.advanced:
            return draft
        published = Snapshot.of(self.model.name, output) if output else None
        self.staging.limit_inputs(self.pins, plan)
        if self.pins.versions(self.model.inputs) != plan.inputs:
            raise Overtaken  # another thread has pinned an input anew: the days of its new version are not in the plan
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
            self.staging.check(self.request.contracts)
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
        table = draft.output or self._create()
        self.staging.commit(table, draft, self._note(table, draft, outcome))
        snapshot = Snapshot.of(self.model.name, table)
        self.pins.built(snapshot)
        self.staging.show(snapshot)
        commit = TableLog(self.pins.lake, self.model.name, self.pins.dev).commit(snapshot.version)
        return replace(outcome, version=snapshot.version, size=commit.size_added if commit else 0, seconds=self.seconds)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def _create(self) -> DeltaTable:
        table = self.pins.lake.create(
            self.model.name,
            self.staging.arrow_schema(),
            partition_by=[self.model.partition] if self.model.partition else [],
            description=self.model.description,
            properties=initial_writer(self.pins.lake, self.staging.engine),
            dev=self.pins.dev,
        )
        require_writer(self.pins.lake, self.model.name, table, self.staging.engine)
        if table.version() > 0:
            raise Overtaken
        return table

    def _note(self, table: DeltaTable, draft: Draft, outcome: Outcome) -> Note:
        """What the commit says of itself; the next plan reads `codes` and `inputs`, people and Dagster the rest."""
        days = sorted(draft.replaced or ())
        build = uuid4().hex
        note = {
            "kind": "build",
            "build": build,
            "engine": self.staging.engine,
            "codes": {**draft.plan.kept_codes, **self.model.codes},
            "inputs": {name: {"id": each.id, "version": each.version} for name, each in draft.inputs.items()},
            "reason": outcome.reason,
            "days_rebuilt": outcome.days_rebuilt,
            "days_replaced": outcome.days_replaced,
            "first_day": str(days[0]) if days else None,
            "last_day": str(days[-1]) if days else None,
            "rows": outcome.rows,
            "seconds": outcome.seconds,
        }
        app_id = f"build:{self.model.name}"
        return Note(json.dumps(note), build, app_id, (table.transaction_version(app_id) or 0) + 1)
