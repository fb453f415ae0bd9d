"""One model as the plugin sees it: its table, its compiled SQL, the configuration that matters; and its plan.

Belongs here: reading a model's configuration, putting the plan together from the lake. Not here: the decision
itself (plan.py), building (store.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from ad_lakehouse.dbt_delta.inputs import DUCKDB, ModelError, code_hash, dependencies
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.plan import (
    NOTHING,
    Changed,
    Dependency,
    Plan,
    Recorded,
    asked,
    frozen,
    kept_before,
    restart_reason,
    stale,
)
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.tables import LAYERS
from ad_lakehouse.lake.views import Snapshot

DAY = "event_date"


@dataclass(frozen=True)
class Model:
    """A dbt model materialised as `delta`. `partition` is its day column, None for a table that is one piece.

    `sql` is compiled for `engine`; `other_codes` are the hashes of the same model compiled for other engines.
    """

    name: TableName
    sql: str
    partition: str | None = DAY
    sort_by: tuple[str, ...] = ()
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)  # name → type, of an enforced dbt contract
    engine: str = DUCKDB
    other_codes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: str, table: str, sql: str, config: Mapping[str, Any], **more: Any) -> "Model":
        """Raises `ModelError` for a configuration that makes no sense."""
        name = TableName(schema, table)
        if schema not in LAYERS:
            raise ModelError(f"{name}: {schema} is no layer of the lake.", remedy=f"Use one of {', '.join(LAYERS)}.")
        partition = config.get("partition_by", DAY)
        if isinstance(partition, list):
            partition = partition[0] if len(partition) == 1 else partition
        if partition is not None and not isinstance(partition, str):
            raise ModelError(f"{name}: partition_by is {partition!r}.", remedy="Name one day column, or 'none'.")
        sort_by = config.get("sort_by") or []
        return cls(
            name,
            sql.strip().rstrip(";"),
            None if partition in (None, "none") else partition,
            tuple([sort_by] if isinstance(sort_by, str) else sort_by),
            **more,
        )

    @cached_property
    def dependencies(self) -> frozenset[Dependency]:
        """Raises `ModelError`."""
        try:
            return dependencies(self.sql, self.engine)
        except ModelError as error:
            raise ModelError(f"{self.name}: {error.message}", remedy=error.remedy) from None

    @property
    def inputs(self) -> list[str]:
        return sorted({each.table for each in self.dependencies})

    @cached_property
    def code(self) -> str:
        """The sort order is not part of it: it decides how rows lie in files, not which rows there are."""
        return code_hash(self.sql, {"partition_by": self.partition, "columns": self.columns})

    @property
    def codes(self) -> dict[str, str]:
        """The code on each engine that is known."""
        return {**self.other_codes, self.engine: self.code}


@dataclass(frozen=True)
class Request:
    """What a person asks of a build beyond what changed.

    `days`: output days to rebuild in any case. `contracts`: a folder of contracts in place of the built-in ones.
    """

    full_refresh: bool = False
    days: frozenset[date] = NOTHING
    contracts: Path | None = None


NOTHING_ASKED = Request()


def plan_model(
    model: Model,
    pins: Pins,
    output: DeltaTable | None,
    request: Request = NOTHING_ASKED,
    *,
    pending: Mapping[str, Changed] | None = None,
) -> Plan:
    """What to rebuild of `output` (None: it is not there yet), and why. Raises `MissingInput`.

    `pending`: changes of inputs that are not committed yet, to foretell what a build of the whole graph will do.
    """
    by_day = model.partition is not None
    recorded = None
    if output is not None:
        recorded = Recorded.of(TableLog(pins.lake, model.name, pins.dev).recorded_build(output.version()))
        if recorded:
            pins.catch_up(recorded)
    now = pins.versions(model.inputs)
    why = "asked for a full refresh" if request.full_refresh else restart_reason(model.codes, now, recorded)
    if why or recorded is None:
        plan = Plan(None, why or "", advanced=recorded != Recorded(model.codes, now))
    else:
        changed = pins.changed(now, recorded)
        for name, more in (pending or {}).items():
            if name in now:
                changed[name] = both(changed.get(name), more)
        plan = asked(stale(model.dependencies, changed, by_day=by_day), request.days, by_day=by_day)
        if plan.days is not None:
            plan = replace(plan, kept_codes=recorded.codes)
    plan = replace(plan, inputs=now)
    if output is None:
        return plan
    snapshot = Snapshot.of(model.name, output)
    retained = pins.retained(model.inputs) if snapshot.files else {}
    return frozen(plan, kept_before(model.dependencies, retained, snapshot.retained_from, by_day=by_day))


def both(one: Changed | None, other: Changed) -> Changed:
    """Two changes of one input as one."""
    if one is None or other.days is None:
        return other
    return one if one.days is None else Changed(one.days | other.days)
