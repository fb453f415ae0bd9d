"""Care of a whole lake: which tables, in which order, and what of their logs is still needed.

Belongs here: the order of things, who still reads which part of a log, the report. Not here: what is done to a table
(lake/maintenance.py), when (defs/maintenance.py).

Nothing is removed before the ledger has counted it: what commits say, and what their files hold. It counts after the
compaction, because few large files are quick to read.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from obstore.exceptions import BaseError as StoreError

from ad_lakehouse.dbt_delta.plan import Recorded, Version
from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.maintenance import (
    NOT_COMPACTED,
    Compacted,
    SmallFiles,
    checkpoint_if_due,
    clean_log,
    compact,
    vacuum,
)
from ad_lakehouse.lake.writer import NotTheWriter, require_writer
from ad_lakehouse.quality.ledger import LEDGER, read_ledger, write_ledger
from ad_lakehouse.settings import MaintenanceSettings

HELD_BACK = 1_000  # versions: whoever stands so far behind a table is told


@dataclass(frozen=True)
class Reader:
    """Who has read which version of a table, and will compare it with a later one."""

    name: str
    version: int


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
        if not dry_run:
            write_ledger(lake)
        readers = log_readers(lake, there)
        for name, care in cares.items():
            progress(f"Removing what nobody needs of {name} …")
            care.remove(readers[name], now or datetime.now(UTC))
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
            if self._dry_run:
                compacted = Compacted(len(small.counts), small.files)
            else:
                compacted = compact(table, small, target_bytes=target)
            self.done = replace(self.done, compacted=compacted, files=len(table.file_uris()))

    def remove(self, readers: Collection[Reader], now: datetime) -> None:
        """Removes files and log entries that neither the `readers` need nor anyone by their age."""
        with self._told():
            table = self._open()
            behind = {each.version for each in readers if each.version < table.version()}
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
                self._tell(f"kept for {first.name}, which read version {first.version}")

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
            self._tell(error.message)
        except CommitFailedError:
            self._tell("another writer replaced the same files; the next run compacts them")
        except LakehouseError as error:
            self._tell(str(error), failed=True)
        except (DeltaError, OSError, StoreError) as error:
            self._tell(str(error).splitlines()[0], failed=True)
        self.done = replace(self.done, seconds=round(self.done.seconds + time.monotonic() - begun, 2))

    def _tell(self, remark: str, *, failed: bool = False) -> None:
        told = self.done.remark
        if remark not in told:
            self.done = replace(self.done, remark="; ".join(filter(None, [told, remark])))
        self.done = replace(self.done, failed=self.done.failed or failed)


def log_readers(lake: Lake, names: Collection[TableName]) -> dict[TableName, list[Reader]]:
    """For each table, who must be able to open which version of it, and to read its log from there on.

    Developers' own tables hold nothing: what they lack of a log they build whole.
    """
    ids = {name: str(lake.open(name).metadata().id) for name in names}
    found: dict[TableName, list[Reader]] = {name: [] for name in names}
    for reader, table, state in [*builds_read(lake, names), *ledger_read(lake)]:
        if ids.get(table) == state.id:
            found[table].append(Reader(reader, state.version))
    for name in names:
        log, version = TableLog(lake, name), lake.open(name).version()
        own = [each.version for each in (log.newest_build(version), log.newest_change(version)) if each is not None]
        found[name] += [Reader("its own newest change", each) for each in own]
    return {name: sorted(set(each), key=lambda reader: reader.version) for name, each in found.items()}


def builds_read(lake: Lake, names: Iterable[TableName]) -> Iterator[tuple[str, TableName, Version]]:
    """What the newest build of each table was made from."""
    for name in names:
        build = TableLog(lake, name).newest_build(lake.open(name).version())
        recorded = Recorded.of(build.note) if build else None
        for table, state in (recorded.inputs if recorded else {}).items():
            yield str(name), TableName.parse(table), state


def ledger_read(lake: Lake) -> Iterator[tuple[str, TableName, Version]]:
    """What the ledger has counted."""
    for row in read_ledger(lake):
        for table, state in row.versions.items():
            yield str(LEDGER), TableName.parse(table), Version(state["id"], int(state["version"]))
