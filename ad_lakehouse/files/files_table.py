"""The table `ops.files`: each file of the drop folder, what became of it and why.

Belongs here: its rows, reading and writing them. Not here: landing (landing.py). What is landed is told by the bronze
tables alone: this table is for people, for alerts, and so that a file whose hash is known is not read again.
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.files.drop import Dropped
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import BATCH_KEY
from ad_lakehouse.lake.views import Snapshot, connect
from kafka_sinks.commit import ATTEMPTS, CommitContended, refused_as_write_failed

FILES = TableName("ops", "files")
State = Literal["landed", "duplicate", "being_written", "changed", "broken", "unclaimed"]
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("state", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("tables", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("modified", pa.timestamp("us", "UTC")),
        pa.field("sha256", pa.string()),
        pa.field("identity", pa.string()),
        pa.field("changed_at", pa.timestamp("us", "UTC")),
        pa.field("seen_date", pa.date32()),
    ]
)
PARTITION = "seen_date"
FLUSH_ROWS, FLUSH_SECONDS = 1_000, 30.0


@dataclass(frozen=True)
class FileRow:
    """One file by its name below the drop folder.

    `rows`: its records that are in tables, accepted or rejected; `rejected`: how many of them were, unknown (None)
    when a run was cut off between them. `tables`: those that share its rows. `changed_at`: when this row became what it
    is; `seen_date`: the day (UTC) of the first sight.
    """

    path: str
    state: State
    reason: str
    tables: str
    rows: int
    rejected: int | None
    size: int
    modified: datetime
    sha256: str
    identity: str
    changed_at: datetime
    seen_date: date

    def is_of(self, dropped: Dropped) -> bool:
        """Whether the file is still the one that this row tells of."""
        return self.identity == dropped.identity


class FilesTable:
    """The table, open for one run: what was known of the files of a folder, what is new of them."""

    def __init__(self, lake: Lake, names: Collection[str]) -> None:
        """Reads the rows of `names`."""
        self._lake = lake
        self._known = {row.path: row for row in read_rows(lake, "path", names)}
        self._new: dict[str, FileRow] = {}
        self._flushed = time.monotonic()

    def __getitem__(self, name: str) -> FileRow | None:
        return self._new.get(name) or self._known.get(name)

    def of_content(self, sha256: str) -> list[FileRow]:
        """The files of one content that landed."""
        found = {row.path: row for row in read_rows(self._lake, "sha256", [sha256])} | self._new
        return [row for row in found.values() if row.sha256 == sha256 and row.state == "landed"]

    def note(self, row: FileRow) -> None:
        """Keeps what became of a file, unless it is known."""
        before = self[row.path]
        if before is not None:
            row = replace(row, seen_date=before.seen_date)
            if replace(row, changed_at=before.changed_at) == before:
                return
        self._new[row.path] = row
        if len(self._new) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is new, in one commit. Raises `CommitContended`, `WriteFailed`."""
        if self._new:
            rows = pa.Table.from_pylist([asdict(row) for row in self._new.values()], SCHEMA)
            with refused_as_write_failed(FILES):
                self._merge(rows)
        self._known |= self._new
        self._new, self._flushed = {}, time.monotonic()

    def _merge(self, rows: pa.Table) -> None:
        for _ in range(ATTEMPTS):
            table = self._lake.create(FILES, SCHEMA, partition_by=[PARTITION], description=__doc__ or "")
            try:
                merge(table, rows)
            except CommitFailedError:
                continue
            return
        raise CommitContended(
            f"{FILES}: other writers committed first {ATTEMPTS} times in a row.", remedy="Nothing is lost. Land again."
        )


def merge(table: DeltaTable, rows: pa.Table) -> None:
    """Puts the rows in place of those of their paths."""
    note = CommitProperties(custom_metadata={BATCH_KEY: json.dumps({"kind": "files"})})
    (
        table.merge(rows, "t.path = s.path", "s", "t", commit_properties=note)
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


def in_utc(moment: datetime) -> datetime:
    """The same time as ours are; DuckDB gives it with a zone of another library."""
    return moment.astimezone(UTC)


def read_rows(lake: Lake, column: Literal["path", "sha256", "state"], wanted: Collection[str]) -> list[FileRow]:
    """The rows whose `column` is one of the `wanted` values, by path."""
    table = lake.open_if_exists(FILES)
    if table is None or not wanted:
        return []
    snapshot = Snapshot.of(FILES, table)
    names = ", ".join(f'"{name}"' for name in SCHEMA.names)
    with connect(lake) as connection:
        query = f"""
            select {names} from ({snapshot.query(connection, snapshot.files)})
            where {column} in (select unnest($wanted)) order by path
        """
        rows = connection.execute(query, {"wanted": list(wanted)}).fetchall()
    found = (FileRow(**dict(zip(SCHEMA.names, row, strict=True))) for row in rows)
    return [replace(row, modified=in_utc(row.modified), changed_at=in_utc(row.changed_at)) for row in found]
