"""The ledger: proof that nothing was lost and nothing counted twice, as the table `quality.ledger`.

Belongs here: the table, writing it, its outcomes as checks. Not here: the comparison (ledger_rows.py), reading
landings (ledger_landing.py) and models (ledger_models.py).
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import BUILD_KEY
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.quality.audit import CheckOutcome
from ad_lakehouse.quality.ledger_landing import landing_rows
from ad_lakehouse.quality.ledger_models import credit_rows, silver_rows
from ad_lakehouse.quality.ledger_rows import LedgerRow, as_json

LEDGER = TableName("quality", "ledger")
ATTEMPTS = 5
APP_ID = f"build:{LEDGER}"
COUNTS = (
    "delivered", "accepted", "rejected", "collapsed", "retired", "repeated", "lost", "gap", "unverified",
)  # fmt: skip
SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string()),
        pa.field("table", pa.string()),
        pa.field("subject", pa.string()),
        *(pa.field(name, pa.int64()) for name in COUNTS),
        pa.field("difference", pa.int64()),
        pa.field("balanced", pa.bool_()),
        pa.field("detail", pa.string()),
        pa.field("versions", pa.string()),
        pa.field("checked_at", pa.timestamp("us", "UTC")),
    ]
)
TITLES = {
    "topic_partition": "every record of every topic partition is in its table once",
    "file": "every record of every file is in its table once",
    "split_file": "every record of a file that feeds several tables is in one of them",
    "unknown_origin": "every row knows where it came from",
    "silver_day": "every accepted event is in silver, or counted as a duplicate there",
    "credits_day": "the credits of each model sum up to the conversions",
}


@dataclass(frozen=True)
class LedgerReport:
    """The ledger as it is now; `written` tells whether the table was replaced."""

    rows: tuple[LedgerRow, ...]
    written: bool
    version: int
    seconds: float

    @property
    def unbalanced(self) -> tuple[LedgerRow, ...]:
        return tuple(row for row in self.rows if not row.balanced)


class LedgerContended(LakehouseError):
    """Others wrote the ledger first, each time."""

    exit_code = 37


def write_ledger(lake: Lake, *, now: datetime | None = None, recount: bool = False) -> LedgerReport:
    """Brings `quality.ledger` up to date, replacing it only when something changed.

    Only tables with a new version are looked at, and of those only what is new, unless something is off;
    `recount` counts everything again. Raises `LedgerContended`.
    """
    for _ in range(ATTEMPTS):
        with suppress(CommitFailedError):  # another one wrote it meanwhile: go on from what that one counted
            return _write_once(lake, now or datetime.now(UTC), recount=recount)
    raise LedgerContended(
        f"{LEDGER}: others wrote it first {ATTEMPTS} times in a row.", remedy="Nothing is lost. Try again."
    )


def _write_once(lake: Lake, now: datetime, *, recount: bool) -> LedgerReport:
    begun = time.monotonic()
    table = lake.create(LEDGER, SCHEMA, description="What was delivered, and what became of it")
    before = read_ledger(lake)
    known: dict[str, list[LedgerRow]] = {}
    for row in before:
        known.setdefault(row.table, []).append(row)
    there = lake.tables()
    rows: list[LedgerRow] = []
    for name in there:
        old = known.get(str(name), [])
        if name.layer == "bronze":
            rows += landing_rows(lake, name, old, recount=recount)
        elif name.layer == "silver" and TableName("bronze", name.table) in there:
            rows += silver_rows(lake, name, old, recount=recount)
        elif name == TableName("attribution", "credits"):
            rows += credit_rows(lake, name, old, recount=recount)
    rows += split_rows(rows)
    rows.sort(key=lambda row: (row.kind, row.table, row.subject))
    written = rows != before
    if written:
        write_deltalake(
            table,
            _arrow(rows, now),
            mode="overwrite",
            commit_properties=CommitProperties(
                custom_metadata={BUILD_KEY: json.dumps({"kind": "ledger"})},
                # Of two writers that both find the table empty one must lose, too
                app_transactions=[Transaction(APP_ID, (table.transaction_version(APP_ID) or 0) + 1)],
            ),
        )
        table = lake.open(LEDGER)
    return LedgerReport(tuple(rows), written, table.version(), time.monotonic() - begun)


def split_rows(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """For each content that several tables have read to its end: records of the file = rows that the tables took."""
    tables: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    names: dict[str, str] = {}
    for row in rows:
        for sha256, content in row.detail.get("contents", {}).items():
            tables.setdefault(sha256, {}).setdefault(row.table, []).append(content)
            names[sha256] = row.subject
    found = []
    for sha256, by_table in tables.items():
        contents = [content for each in by_table.values() for content in each]
        # renamed between two commits, a content has several rows of a table, of which one is done
        if len(by_table) > 1 and all(any(content["done"] for content in each) for each in by_table.values()):
            records, taken = max(content["end"] for content in contents), sum(content["rows"] for content in contents)
            detail = {"sha256": sha256, "tables": sorted(by_table)}
            found.append(
                LedgerRow(
                    "split_file", "bronze", names[sha256],
                    delivered=records, accepted=taken, balanced=records == taken, detail=detail,
                )
            )  # fmt: skip
    return found


def read_ledger(lake: Lake) -> list[LedgerRow]:
    """The rows of `quality.ledger`; none when it was never written."""
    table = lake.open_if_exists(LEDGER)
    if table is None:
        return []
    snapshot = Snapshot.of(LEDGER, table)
    names = [each.name for each in fields(LedgerRow)]
    columns = ", ".join(f'"{name}"' for name in names)
    with connect(lake) as connection:
        rows = connection.execute(
            f'select {columns} from ({snapshot.query(connection, snapshot.files)}) order by kind, "table", subject'
        ).fetchall()
    found = (dict(zip(names, row, strict=True)) for row in rows)
    return [
        LedgerRow(**(row | {"detail": json.loads(row["detail"]), "versions": json.loads(row["versions"])}))
        for row in found
    ]


def ledger_outcomes(rows: Iterable[LedgerRow], kinds: Sequence[str] = tuple(TITLES)) -> list[CheckOutcome]:
    """One blocking outcome for each kind of subject: how many are off, by how much, and where."""
    rows = list(rows)
    outcomes = []
    for kind in kinds:
        mine = [row for row in rows if row.kind == kind]
        off = [row for row in mine if not row.balanced]
        outcomes.append(
            CheckOutcome(
                name=f"ledger__{kind}",
                title=TITLES[kind],
                passed=not off,
                blocking=True,
                severity="error",
                value=len(off),
                threshold="must be 0",
                detail={
                    "subjects": len(mine),
                    "off": [str(row) for row in off[:20]],
                    "rows_off": sum(abs(row.difference) for row in off),
                    "lost_with_consent": sum(row.lost for row in mine),
                    "unverified": sum(row.unverified for row in mine),
                },
                sample=tuple({"where": str(row), "difference": row.difference, **row.detail} for row in off[:5]),
                failing_rows_sql=f"select * from quality.ledger where kind = '{kind}' and not balanced"
                if off
                else None,
            )
        )
    return outcomes


def _arrow(rows: Sequence[LedgerRow], now: datetime) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "kind": row.kind,
                "table": row.table,
                "subject": row.subject,
                **{name: getattr(row, name) for name in COUNTS},
                "difference": row.difference,
                "balanced": row.balanced,
                "detail": as_json(row.detail),
                "versions": as_json(row.versions),
                "checked_at": now,
            }
            for row in rows
        ],
        schema=SCHEMA,
    )
