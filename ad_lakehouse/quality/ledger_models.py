"""The ledger of models: silver keeps or counts every accepted event, credits sum up to the conversions.

Belongs here: comparing a model's table with the version of its input that it was built from, day by day. Not here:
landing (ledger_landing.py).

A table is compared with the input version its last build recorded, so that events which landed after that build
are not missed by it. Only days that changed on either side are counted again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
from deltalake.exceptions import DeltaError

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.retention import retained_from
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.quality.ledger_rows import LedgerRow

BILLION = 1_000_000_000
CONVERSIONS = TableName("silver", "conversions")
DAY = "event_date"


@dataclass(frozen=True)
class Pair:
    """A model's table and the version of an input that it was built from."""

    output: Snapshot
    input: Snapshot
    days: frozenset[date] | None  # days that changed on either side since the ledger was written; None: all
    from_day: date | None  # days before are frozen: the input no longer keeps them

    @property
    def versions(self) -> dict[str, dict[str, str | int]]:
        return {str(each.name): {"id": each.table_id, "version": each.version} for each in (self.output, self.input)}

    def wanted(self) -> list[date]:
        """Days to compare."""
        every = {file.day for each in (self.output, self.input) for file in each.files if file.day is not None}
        return sorted(
            day for day in (every if self.days is None else self.days) if self.from_day is None or day >= self.from_day
        )


def silver_rows(lake: Lake, name: TableName, before: Sequence[LedgerRow], *, recount: bool = False) -> list[LedgerRow]:
    """For each day of a silver event table: accepted bronze rows = rows kept + natural duplicates."""
    if "natural_duplicates" not in Snapshot.of(name, lake.open(name)).columns:
        return []  # a dimension: its versions are not events
    return _days(lake, name, TableName("bronze", name.table), before, recount, _silver_days)


def credit_rows(lake: Lake, name: TableName, before: Sequence[LedgerRow], *, recount: bool = False) -> list[LedgerRow]:
    """For each day, model and traffic: counted conversions = sum of credits."""
    return _days(lake, name, CONVERSIONS, before, recount, _credit_days)


Compare = Callable[[duckdb.DuckDBPyConnection, Pair, list[date]], list[LedgerRow]]


def _days(
    lake: Lake, name: TableName, input_name: TableName, before: Sequence[LedgerRow], recount: bool, compare: Compare
) -> list[LedgerRow]:
    pair = _pair(lake, name, input_name, before[0].versions if before and not recount else {})
    if pair is None:
        return list(before)
    days = pair.wanted()
    with connect(lake) as connection:
        compared = compare(connection, pair, days)
    again = {day.isoformat() for day in days}
    kept = [row for row in before if row.subject[:10] not in again and _still(row, pair)]
    return [_with(row, pair) for row in [*kept, *compared]]


def _still(row: LedgerRow, pair: Pair) -> bool:
    """Whether the row stays without being compared: its day did not change, or is frozen."""
    frozen = pair.from_day is not None and row.subject[:10] < pair.from_day.isoformat()
    return frozen or pair.days is not None


def _with(row: LedgerRow, pair: Pair) -> LedgerRow:
    return LedgerRow(**{**row.__dict__, "versions": pair.versions})


def _pair(lake: Lake, name: TableName, input_name: TableName, state: Mapping[str, Mapping[str, object]]) -> Pair | None:
    """What to compare; None when nothing is new, or the input version is no longer known."""
    output = lake.open(name)
    log = TableLog(lake, name)
    recorded = ((log.recorded_build(output.version()) or {}).get("inputs") or {}).get(str(input_name))
    newest = lake.open_if_exists(input_name)
    if recorded is None or newest is None or str(newest.metadata().id) != recorded["id"]:
        return None
    try:
        source = Snapshot.of(input_name, lake.open(input_name, version=recorded["version"]))
    except DeltaError:  # the log was cleaned behind it
        return None
    pair = Pair(Snapshot.of(name, output), source, None, retained_from(newest))
    if state == pair.versions:
        return None
    return Pair(pair.output, pair.input, _changed(lake, pair, state), pair.from_day)


def _changed(lake: Lake, pair: Pair, state: Mapping[str, Mapping[str, object]]) -> frozenset[date] | None:
    days: set[date] = set()
    for snapshot in (pair.output, pair.input):
        then = state.get(str(snapshot.name), {})
        version = then.get("version")
        if then.get("id") != snapshot.table_id or not isinstance(version, int) or version > snapshot.version:
            return None
        touched = TableLog(lake, snapshot.name).changed_days(DAY, version, snapshot.version)
        if touched is None:
            return None
        days |= {day for day in touched if day is not None}
    return frozenset(days)


def _silver_days(connection: duckdb.DuckDBPyConnection, pair: Pair, days: list[date]) -> list[LedgerRow]:
    accepted = _by_day(connection, pair.input, days, "count(*)")
    kept = _by_day(connection, pair.output, days, "count(*), sum(natural_duplicates)")
    rows = []
    for day in sorted({*accepted, *kept}):
        (delivered,) = accepted.get(day, (0,))
        there, collapsed = kept.get(day, (0, 0))
        row = LedgerRow(
            "silver_day", str(pair.output.name), day.isoformat(),
            delivered=delivered, accepted=there, collapsed=collapsed, balanced=there + collapsed == delivered,
        )  # fmt: skip
        rows.append(row)
    return rows


def _credit_days(connection: duckdb.DuckDBPyConnection, pair: Pair, days: list[date]) -> list[LedgerRow]:
    counted = _by_day(connection, pair.input, days, "count(*) filter (where counted)")
    earned = connection.execute(f"""
        select {DAY}, model, traffic, sum(credit_billionths), count(distinct conversion_id)
        from ({pair.output.query(connection, pair.output.accepted(days))})
        group by all
    """).fetchall()  # fmt: skip
    by_kind = {(day, model, traffic): (int(total), conversions) for day, model, traffic, total, conversions in earned}
    kinds = {(model, traffic) for _, model, traffic in by_kind}
    rows = []
    for day in sorted({*counted, *(day for day, _, _ in by_kind)}):
        (delivered,) = counted.get(day, (0,))
        for model, traffic in sorted(kinds) or [("any", "any")]:
            total, conversions = by_kind.get((day, model, traffic), (0, 0))
            row = LedgerRow(
                "credits_day", str(pair.output.name), f"{day.isoformat()} {model} {traffic}",
                delivered=delivered, accepted=round(total / BILLION),
                balanced=total == delivered * BILLION and conversions == delivered,
                detail={"credit_billionths": total, "conversions": conversions},
            )  # fmt: skip
            rows.append(row)
    return rows


def _by_day(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, days: list[date], counts: str
) -> dict[date, tuple[int, ...]]:
    rows = connection.execute(
        f"select {DAY}, {counts} from ({snapshot.query(connection, snapshot.accepted(days))}) group by {DAY}"
    ).fetchall()
    return {row[0]: tuple(int(value or 0) for value in row[1:]) for row in rows}
