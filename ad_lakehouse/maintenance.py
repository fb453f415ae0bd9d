"""Care of a whole lake: which tables, in which order, and what of their logs is still needed.

Belongs here: the order of things, who still reads which part of a log, the report. Not here: what is done to a table
(lake/maintenance.py), when (defs/maintenance.py).

Nothing is removed before the ledger has counted it: what commits say, and what their files hold. It counts after the
compaction, because few large files are quick to read.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from obstore.exceptions import BaseError as StoreError

from ad_lakehouse.dbt_delta.plan import Recorded, Version
from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.maintenance import (
    NOT_COMPACTED,
    Compacted,
    SmallFiles,
    checkpoint_if_due,
    clean_log,
    compact,
    remember_removed,
    vacuum,
)
from ad_lakehouse.lake.writer import NotTheWriter, require_writer
from ad_lakehouse.quality.ledger import LEDGER, read_ledger, write_ledger
from ad_lakehouse.settings import MaintenanceSettings

BUILT = ("silver", "attribution", "marts")  # layers whose tables are made by builds
FAILURES = (LakehouseError, DeltaError, OSError, StoreError)
MONITOR = TableName("ops", "monitor_windows")  # the only table whose rows have an age at which nobody reads them
HELD_BACK = 1_000  # versions: whoever stands so far behind a table is told


@dataclass(frozen=True)
class Reader:
    """Who has read which version of a table, and will compare it with a later one, by the log between them.

    `opens`: the ledger counts that version's rows again, beside those that were built from it.
    """

    name: str
    version: int
    opens: bool = False


@dataclass(frozen=True)
class Cared:
    """What was done to one table, or would be done. `files`: how many it has after it.

    `remark`: why something was not done; the table is as it was in that respect. `failed`: it ought to have been.
    """

    name: TableName
    files: int = 0
    compacted: Compacted = NOT_COMPACTED
    vacuumed: int = 0
    log_entries: int = 0
    remark: str = ""
    failed: bool = False
    seconds: float = 0.0


def maintain(
    lake: Lake,
    settings: MaintenanceSettings,
    *,
    only: Collection[str] | None = None,
    remove: bool = True,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Cared]:
    """Compacts every published table, or those of `only`, and removes what nobody needs any more.

    `remove` False: compacts only, which is quick. A table that another engine writes, or that cannot be cared for,
    does not keep the others from it. Raises `ConfigurationError` for an unknown name.
    """
    there = lake.tables()
    wanted = [name for name in there if not only or str(name) in only]
    if unknown := sorted(set(only or ()) - {str(name) for name in there}):
        raise ConfigurationError(
            f"No table of this lake is named {', '.join(unknown)}.", remedy="ad-lakehouse status lists them."
        )
    cares = {name: Care(lake, name, settings, dry_run) for name in wanted}
    for name, care in cares.items():
        progress(f"Compacting {name} …")
        care.compact()
    if remove:
        progress("Counting in the ledger what is there …")
        try:
            if not dry_run:
                write_ledger(lake)
            readers = log_readers(lake, there)
        except FAILURES as error:
            for care in cares.values():
                care.tell(f"nothing was removed, since the ledger cannot be written: {error}", failed=True)
            return [care.done for care in cares.values()]
        for name, care in cares.items():
            progress(f"Removing what nobody needs of {name} …")
            care.remove(readers.get(name, []), now or datetime.now(UTC))
    return [care.done for care in cares.values()]


class Care:
    """The care of one table. What hinders it is told in `done`, and not raised."""

    def __init__(self, lake: Lake, name: TableName, settings: MaintenanceSettings, dry_run: bool) -> None:
        self._lake, self._name, self._settings, self._dry_run = lake, name, settings, dry_run
        self.done = Cared(name)

    def compact(self) -> None:
        """Puts small files together."""
        with self._told():
            table = self._open()
            target = self._settings.target_bytes
            small = SmallFiles.of(table, target_bytes=target, at_least=self._settings.min_files)
            self.done = replace(self.done, files=len(table.file_uris()))
            compacted = small.at_most if self._dry_run else compact(table, small, target_bytes=target)
            files = len(table.file_uris()) - (compacted.fewer if self._dry_run else 0)
            self.done = replace(self.done, compacted=compacted, files=files)

    def remove(self, readers: Collection[Reader], now: datetime) -> None:
        """Removes files and log entries that neither the `readers` need nor anyone by their age."""
        with self._told():
            table = self._open()
            if self._name == MONITOR:
                self._forget(table, now.date() - timedelta(days=self._settings.monitor_days))
            if not self._dry_run:
                remember_removed(table, self._settings.vacuum_days)
            behind = {each.version for each in readers if each.opens and each.version < table.version()}
            hours = self._settings.vacuum_days * 24
            self.done = replace(self.done, vacuumed=vacuum(table, hours=hours, keep=behind, dry_run=self._dry_run))
            table.update_incremental()  # the vacuum is in the log, too
            log = self._lake.store(self._name.layer, self._name.table, "_delta_log")
            if not self._dry_run:
                checkpoint_if_due(table, log)
            first = min(readers, key=lambda each: each.version, default=Reader("", table.version()))
            before = now - timedelta(days=self._settings.log_days)
            entries = clean_log(log, needed_from=first.version, older_than=before, dry_run=self._dry_run)
            self.done = replace(self.done, log_entries=entries)
            if table.version() - first.version > HELD_BACK:
                self.tell(f"kept for {first.name}, which read version {first.version}")

    def _forget(self, table: DeltaTable, since: date) -> None:
        """Deletes the days before a date. Positions stay: they are in the log, and no row holds the only one."""
        days = {values[DAY] for values in table.partitions()}
        gone = [day for day in days if day is not None and str(day) < since.isoformat()]
        if not gone:
            return
        if not self._dry_run:
            note = json.dumps({"kind": "retention", "days": len(gone)})
            table.delete(
                f"{DAY} < '{since.isoformat()}'",
                commit_properties=CommitProperties(custom_metadata={"userMetadata": note}),
            )
        self.tell(f"{len(gone)} days before {since} deleted")

    def _open(self) -> DeltaTable:
        table = self._lake.open(self._name)
        require_writer(self._lake, self._name, table)
        return table

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong becomes a remark."""
        begun = time.monotonic()
        try:
            yield
        except NotTheWriter as error:
            self.tell(error.message)
        except CommitFailedError:
            self.tell("another writer replaced the same files; the next run compacts them")
        except FAILURES as error:
            self.tell(str(error).splitlines()[0], failed=True)
        self.done = replace(self.done, seconds=round(self.done.seconds + time.monotonic() - begun, 2))

    def tell(self, remark: str, *, failed: bool = False) -> None:
        """Puts a remark into the report."""
        told = self.done.remark
        if remark not in told:
            self.done = replace(self.done, remark="; ".join(filter(None, [told, remark])))
        self.done = replace(self.done, failed=self.done.failed or failed)


def log_readers(lake: Lake, names: Collection[TableName]) -> dict[TableName, list[Reader]]:
    """For each table, who must be able to open which version of it, and to read its log from there on.

    Developers' own tables hold nothing: what they lack of a log they build whole.
    """
    open_tables = {}
    for name in names:
        with suppress(*FAILURES):  # one that cannot be opened cannot be built either
            open_tables[name] = lake.open(name)
    ids = {name: str(table.metadata().id) for name, table in open_tables.items()}
    found: dict[TableName, list[Reader]] = {name: [] for name in open_tables}
    for name, table in open_tables.items():
        log = TableLog(lake, name)
        change = log.newest_change(table.version())
        build = log.newest_build(table.version()) if name.layer in BUILT else None
        found[name] += [Reader("its own newest change", each.version) for each in (change, build) if each is not None]
        recorded = Recorded.of(build.note) if build else None
        for read, state in (recorded.inputs if recorded else {}).items():
            note(found, ids, Reader(str(name), state.version, opens=True), TableName.parse(read), state)
    for table_name, state in ledger_read(lake):
        note(found, ids, Reader(str(LEDGER), state.version), table_name, state)
    return {name: sorted(set(each), key=lambda reader: reader.version) for name, each in found.items()}


def note(
    found: dict[TableName, list[Reader]], ids: Mapping[TableName, str], reader: Reader, table: TableName, state: Version
) -> None:
    """Adds a reader of a table that is still the one it read."""
    if ids.get(table) == state.id:
        found[table].append(reader)


def ledger_read(lake: Lake) -> Iterator[tuple[TableName, Version]]:
    """What the ledger has counted."""
    for row in read_ledger(lake):
        for table, state in row.versions.items():
            yield TableName.parse(table), Version(state["id"], int(state["version"]))
