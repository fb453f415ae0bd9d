"""One batch, one commit: rows and the positions behind them enter a bronze table together or not at all.

Belongs here: opening a bronze table for landing, what was delivered, the conflict when another writer was first.
Not here: where rows come from (sink.py, the file landing), what a commit note means to others (lake/log.py).

How far a place is landed is a Delta transaction (`txn` action: app id, version) in the commit that holds the rows.
Delta refuses a commit whose app id was written since the handle was opened, but not one with a lower version from a
fresh handle; therefore the handle that writes is the one the transactions are read from.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import obstore
import pyarrow as pa
from deltalake import CommitProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from obstore.exceptions import BaseError as StoreError

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY, write_files
from ad_lakehouse.lake.log import BATCH_KEY
from ad_lakehouse.lake.refusals import StoreRefused, causes, remedy
from ad_lakehouse.lake.retention import retained_from
from ad_lakehouse.lake.tables import check_ours
from kafka_sinks.table_changed import refuse_restored, replaced

ATTEMPTS = 50  # each lost attempt is another writer's success: many sinks at once need many
MEND = "Make room or mend the store."
GOES_ON = "Then land again: it goes on behind the last commit."
SPREAD = ("event_id",)  # texts that do not repeat


class CommitContended(LakehouseError):
    """Other writers of the table were first too many times in a row."""

    exit_code = 24


class SchemaConflict(LakehouseError):
    """The table holds a column with another type than its source now has."""

    exit_code = 25


class WriteFailed(LakehouseError):
    """The table's storage refuses to be written or read: a full disk, no permission, an object store that is away."""

    exit_code = 19


@contextlib.contextmanager
def refused_as_write_failed(name: TableName) -> Iterator[None]:
    """What a store or a table's log refuses while it is entered, as `WriteFailed`."""
    try:
        yield
    except StoreRefused as error:
        raise WriteFailed(error.message, remedy=f"{error.remedy or MEND} {GOES_ON}") from None
    except (DeltaError, OSError, StoreError) as error:  # a full disk, an object store that is away
        raise WriteFailed(
            f"{name} could not be read or written: {causes(error)}.", remedy=f"{remedy(error, MEND)} {GOES_ON}"
        ) from None  # Dagster would show all of a store's answer, which may repeat secrets of the request


@dataclass(frozen=True)
class Delivery:
    """Records that came from one place, and how far that place is landed with them.

    `version` is what the Delta transaction of `app_id` becomes; `records` were counted as they came, before any was
    decoded; `note` names the place in the commit, so that the ledger can compare.
    """

    app_id: str
    version: int
    records: int
    note: Mapping[str, Any]


@dataclass(frozen=True)
class Commit:
    """What a batch becomes: its rows, and the deliveries they came from."""

    rows: pa.Table
    deliveries: Sequence[Delivery]


class BronzeTable:
    """A bronze table open for landing. One handle reads the positions and writes."""

    def __init__(self, lake: Lake, name: TableName, schema: pa.Schema, description: str = "") -> None:
        """Creates the table when it is not there, and adds columns that the source has got since.

        Raises `SchemaConflict`, `WriteFailed`, `TableRestored`.
        """
        self.name = name
        self.conflicts = 0  # commits that another writer was before
        self._lake, self._schema = lake, schema
        self._landed: dict[str, int | None] = {}  # of the open version; delta-rs reads the log for each question
        # Rows whose commit failed, and their files: when they are landed again, the files are not written again
        self._written: tuple[pa.Table, Sequence[AddAction]] | None = None
        with refused_as_write_failed(name):
            self._handle = lake.create(name, schema, partition_by=[DAY], description=description)
            self._store = lake.store(name.layer, name.table)
            self._id, self._seal = self._handle.metadata().id, self._newest_entry()
            refuse_restored(lake, name, self.version)
            self._evolve()

    @property
    def version(self) -> int:
        return int(self._handle.version())

    @property
    def retained_from(self) -> date | None:
        """The first day the table still keeps; rows of earlier days are not taken any more."""
        return retained_from(self._handle)

    def landed(self, app_id: str) -> int | None:
        """The transaction version of an app id in the open version; None when it has landed nothing."""
        if app_id not in self._landed:
            self._landed[app_id] = self._handle.transaction_version(app_id)
        return self._landed[app_id]

    def refresh(self) -> None:
        """Opens the newest version. Raises `TableReplaced`, `TableRestored`."""
        self._landed.clear()
        if self._seal is not None and self._newest_entry() == self._seal:
            # Only what is new of the log is read: of an object store all of it is two requests for each entry
            self._seal = None  # should the store fail between, the table is opened anew
            self._handle.update_incremental()
            check_ours(self._handle, str(self.name))
        else:
            before, self._handle = self.version, self._lake.open(self.name)
            if self._handle.metadata().id != self._id or self.version < before:
                raise replaced(self.name)
        refuse_restored(self._lake, self.name, self.version)
        self._seal = self._newest_entry()

    def _newest_entry(self) -> tuple[str | None, datetime] | None:
        """What tells the log entry of the open version from another of its name; None when it is not there."""
        try:
            entry = obstore.head(self._store, f"_delta_log/{self.version:020d}.json")
        except FileNotFoundError:
            return None
        return entry["e_tag"], entry["last_modified"]

    def _check_same(self) -> None:
        """Raises `TableReplaced` when the open version is another one now; delta-rs would write behind any log."""
        found = self._newest_entry()
        if found is not None and self._seal is not None and found != self._seal:
            raise replaced(self.name)
        if found != self._seal:  # log clean-up, or the table is gone
            self.refresh()

    def land(self, batch_id: str, prepare: Callable[["BronzeTable"], Commit | None], **note: Any) -> Commit | None:
        """Commits what `prepare` leaves of a batch when it sees the table; None when that is nothing.

        `prepare` is called again, with a newer table, whenever another writer was first. Raises `CommitContended`
        after many such losses, `WriteFailed`, `TableReplaced`, `TableRestored`.
        """
        for _ in range(ATTEMPTS):
            with refused_as_write_failed(self.name):
                self._check_same()
                commit = prepare(self)
                if commit is None:
                    return None
                delivered = [dict(each.note) for each in commit.deliveries]
                if self._written is None or self._written[0] is not commit.rows:
                    self._written = (commit.rows, self._write(commit.rows))
                if not self._are_there(self._written[1]):
                    self._written = None
                    continue
                try:
                    self._commit(self._written[1], commit, {"batch": batch_id, **note, "delivered": delivered})
                except CommitFailedError:
                    self.conflicts += 1
                    self.refresh()
                    continue
            self._written = None
            return commit
        raise CommitContended(
            f"{self.name}: other writers committed first {ATTEMPTS} times in a row.",
            remedy="Nothing is lost. Land again, with fewer writers of this table at once.",
        )

    def _write(self, rows: pa.Table) -> Sequence[AddAction]:
        return write_files(self._store, self._fitted(rows), without_dictionary=SPREAD) if rows.num_rows else []

    def _are_there(self, files: Sequence[AddAction]) -> bool:
        """Whether data files that no commit names yet are still there: an old one is a full vacuum's to delete."""
        try:
            for each in files:
                obstore.head(self._store, each.path)
        except FileNotFoundError:
            return False
        return True

    def _commit(self, files: Sequence[AddAction], commit: Commit, note: Mapping[str, Any]) -> None:
        before = self.version
        self._handle.create_write_transaction(
            list(files),
            "append",
            self._handle.schema(),
            [DAY],
            commit_properties=CommitProperties(
                custom_metadata={BATCH_KEY: json.dumps(note)},
                app_transactions=[Transaction(each.app_id, each.version) for each in commit.deliveries],
            ),
        )
        self._seal = None  # should the store fail between, the table is opened anew
        self._handle.update_incremental()  # the call leaves the handle at the version it was opened with
        if self.version == before + 1:
            self._landed |= {each.app_id: each.version for each in commit.deliveries}
        else:  # others committed before or behind ours
            self._landed.clear()
            refuse_restored(self._lake, self.name, self.version)
        self._seal = self._newest_entry()

    def _evolve(self) -> None:
        """Adds the columns that the source has got since the table was made. Another writer may do so first."""
        for _ in range(ATTEMPTS):
            there = {field.name: field.type for field in self._handle.schema().fields}
            wanted = Schema.from_arrow(self._schema).fields
            for field in wanted:
                if field.name in there and there[field.name] != field.type:
                    raise SchemaConflict(
                        f"{self.name}.{field.name} is {there[field.name]} in the table, {field.type} in its source.",
                        remedy="Give the changed field a new name in the source's schema.",
                    )
            missing = [field for field in wanted if field.name not in there]
            if not missing:
                return
            with contextlib.suppress(CommitFailedError):
                self._handle.alter.add_columns(missing)
            self.refresh()

    def _fitted(self, rows: pa.Table) -> pa.Table:
        """The rows in the table's columns, with nulls in those that another version of the source has added."""
        known = {field.name: field.type for field in self._schema}
        there = pa.schema(self._handle.schema().to_arrow())
        schema = pa.schema([pa.field(each.name, known.get(each.name, each.type)) for each in there])
        columns = [
            rows[each.name].cast(each.type) if each.name in known else pa.nulls(rows.num_rows, each.type)
            for each in schema
        ]
        return pa.table(columns, schema=schema)
