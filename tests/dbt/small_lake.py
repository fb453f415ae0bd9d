"""A small lake and dbt project to try the incremental mechanism on: landing by hand, building, comparing.

Belongs here: what several tests of this folder need to act on a lake. Not here: promises (test_*.py).
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from ad_lakehouse.dbt_delta.run import BuildReport, build
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.settings import Settings, TransformSettings

PROJECT = Path(__file__).parent / "project"
CONTRACTS = Path(__file__).parent / "contracts"  # our tables share names with the product's, not columns
FIRST = date(2026, 7, 1)
EVENT = [("event_id", pa.string()), ("event_ts", pa.timestamp("us", "UTC")), ("user_id", pa.string())]
LANDED = [("_offset", pa.int64()), ("event_date", pa.date32())]
SCHEMAS = {
    "impressions": pa.schema([*EVENT, ("campaign_id", pa.string()), ("price_micros", pa.int64()), *LANDED]),
    "conversions": pa.schema([*EVENT, ("revenue_micros", pa.int64()), *LANDED]),
    "campaigns": pa.schema([("campaign_id", pa.string()), ("utc_offset_hours", pa.int32()), *LANDED]),
}
BUILT = (
    "silver.impressions", "silver.conversions", "silver.campaigns",
    "attribution.credits", "marts.campaign_daily", "marts.totals",
)  # fmt: skip
Row = dict[str, Any]


def day(number: int) -> date:
    return FIRST + timedelta(number)


def at(number: int, hour: float = 12) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(number, hours=hour)


class SmallLake:
    """One lake in a folder, with the sources of the small project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(str(folder / "lake"))
        self.settings = Settings(lake=str(folder / "lake"), contracts=CONTRACTS, transform=TransformSettings(threads=1))
        self.offset = 0
        self.full_builds = 0
        for source in SCHEMAS:
            self.create(source)

    def create(self, source: str) -> DeltaTable:
        return self.lake.create(TableName("bronze", source), SCHEMAS[source], partition_by=["event_date"])

    def land(self, source: str, rows: Sequence[Row], *, added_column: str | None = None) -> None:
        """One commit of bronze rows; each gets an offset and, unless it says otherwise, its day."""
        schema = SCHEMAS[source]
        landed = []
        for row in rows:
            self.offset += 1
            own = {"event_date": row["event_ts"].date()} if "event_ts" in row else {"event_date": day(0)}
            landed.append({"_offset": self.offset, **own, **row})
        if added_column:
            schema = schema.append(pa.field(added_column, pa.string()))
            landed = [{**row, added_column: "new"} for row in landed]
        write_deltalake(
            self.lake.open(TableName("bronze", source)),
            pa.Table.from_pylist(landed, schema=schema),
            mode="append",
            schema_mode="merge",
        )

    def reject(self, source: str) -> None:
        """A commit of one rejected row: null partition, no business columns."""
        self.land(source, [{"event_date": None}])

    def note(self, source: str) -> None:
        """A commit without rows."""
        empty = SCHEMAS[source].empty_table()
        note = CommitProperties(custom_metadata={"ad_lakehouse": json.dumps({"delivered": []})})
        write_deltalake(self.lake.open(TableName("bronze", source)), empty, mode="append", commit_properties=note)

    def recreate(self, source: str, rows: Sequence[Row]) -> None:
        """Drops the table and makes another one that ends at the same version number."""
        name = TableName("bronze", source)
        version = self.lake.open(name).version()
        shutil.rmtree(self.lake.uri(name))
        self.create(source)
        self.land(source, rows)
        while self.lake.open(name).version() < version:
            self.note(source)

    @contextmanager
    def dev_user(self, user: str) -> Any:
        before = os.environ.get("AD_LAKEHOUSE_DEV_USER")
        os.environ["AD_LAKEHOUSE_DEV_USER"] = user
        try:
            yield
        finally:
            os.environ.pop("AD_LAKEHOUSE_DEV_USER")
            if before is not None:
                os.environ["AD_LAKEHOUSE_DEV_USER"] = before

    def build(
        self,
        *,
        threads: int = 1,
        select: Sequence[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        target: str = "prod",
        full_refresh: bool = False,
        check: bool = True,
    ) -> BuildReport:
        self.settings.transform.threads = threads
        report = build(self.settings, select, target, variables, full_refresh, project=PROJECT)
        return report.raise_if_failed() if check else report

    def build_aside(self, variables: Mapping[str, Any] | None = None) -> str:
        """Builds everything from nothing in a folder of its own; returns the name of its developer."""
        self.full_builds += 1
        user = f"full{self.full_builds}"
        with self.dev_user(user):
            self.build(target="dev", variables=variables)
        return user

    def versions(self) -> dict[str, int]:
        return {str(name): self.lake.open(name).version() for name in self.lake.tables() if name.layer != "bronze"}

    def rows(self, name: str, dev: str | None = None, *, version: int | None = None, where: str = "true") -> list[Any]:
        """All rows, columns by name, in a fixed order."""
        table = TableName.parse(name)
        snapshot = Snapshot.of(table, self.lake.open(table, dev=dev, version=version))
        connection = connect()
        columns = ", ".join(sorted(snapshot.columns))
        query = snapshot.query(connection, snapshot.accepted())
        return connection.execute(f"select {columns} from ({query}) where {where} order by all").fetchall()

    def differences(self, name: str, dev: str, where: str = "true") -> list[Any]:
        """Rows of the published table or the developer's that the other one lacks, multiplicity counted."""
        table = TableName.parse(name)
        connection = connect()
        sides = []
        for own in (None, dev):
            snapshot = Snapshot.of(table, self.lake.open(table, dev=own))
            columns = ", ".join(sorted(snapshot.columns))
            sides.append(f"(select {columns} from ({snapshot.query(connection, snapshot.accepted())}) where {where})")
        one, other = sides
        query = f"({one} except all {other}) union all ({other} except all {one})"
        return connection.execute(query).fetchall()

    def days_committed(self, name: str, since: int) -> set[date | None]:
        """Days that commits after version `since` replaced."""
        table = self.lake.open(TableName.parse(name))
        column = table.metadata().partition_columns[0]
        return TableLog(self.lake, TableName.parse(name)).changed_days(column, since, table.version()) or set()

    def days_differing(self, name: str, since: int) -> set[date]:
        """Days whose rows differ between version `since` and now."""
        table = self.lake.open(TableName.parse(name))
        at_day = sorted(Snapshot.of(TableName.parse(name), table).columns).index(table.metadata().partition_columns[0])
        before, after = self.rows(name, version=since), self.rows(name)
        days = {row[at_day] for row in (*before, *after)}
        return {
            each
            for each in days
            if [row for row in before if row[at_day] == each] != [row for row in after if row[at_day] == each]
        }
