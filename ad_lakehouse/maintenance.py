"""Care of a whole lake: which tables, in which order, and what of their logs is still needed.

Belongs here: the order of things, who still reads which part of a log, the report. Not here: what is done to a table
(lake/maintenance.py), when (defs/maintenance.py).

The ledger comes first: it counts what commits say and what their files hold, so both must still be there.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
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
    readers: dict[TableName, list[Reader]] = {}
    if remove:
        if not dry_run:
            progress("Counting in the ledger what is there …")
            write_ledger(lake)
        readers = log_readers(lake, there)
    cared = []
    for name in wanted:
        progress(f"Caring for {name} …")
        care = Care(lake, name, settings, dry_run)
        cared.append(care.run(readers.get(name, []) if remove else None, now or datetime.now(UTC)))
    return cared


class Care:
    """The care of one table."""

    def __init__(self, lake: Lake, name: TableName, settings: MaintenanceSettings, dry_run: bool) -> None:
        self._lake, self._name, self._settings, self._dry_run = lake, name, settings, dry_run

    def run(self, readers: Collection[Reader] | None, now: datetime) -> Cared:
        """Does it all, or without `readers` of the log the compaction only; what hinders it is told in the result."""
        begun = time.monotonic()
        cared = Cared(self._name)
        try:
            table = self._lake.open(self._name)
            require_writer(self._lake, self._name, table)
            cared = self._compacted(table, cared)
            if readers is not None:
                cared = self._removed(table, readers, now, cared)
        except NotTheWriter as error:
            cared = replace(cared, remark=error.message)
        except LakehouseError as error:
            cared = replace(cared, remark=str(error), failed=True)
        except (DeltaError, OSError, StoreError) as error:
            cared = replace(cared, remark=str(error).splitlines()[0], failed=True)
        return replace(cared, seconds=round(time.monotonic() - begun, 2))

    def _compacted(self, table: DeltaTable, cared: Cared) -> Cared:
        target = self._settings.target_bytes
        small = SmallFiles.of(table, target_bytes=target, at_least=self._settings.min_files)
        if self._dry_run:
            done = Compacted(len(small.counts), small.files)
        else:
            try:
                done = compact(table, small, target_bytes=target)
            except CommitFailedError:
                done = NOT_COMPACTED
                cared = replace(cared, remark="another writer replaced the same files; the next run compacts them")
                table.update_incremental()
        return replace(cared, compacted=done, files=len(table.file_uris()))

    def _removed(self, table: DeltaTable, readers: Collection[Reader], now: datetime, cared: Cared) -> Cared:
        vacuumed = vacuum(
            table,
            hours=self._settings.vacuum_days * 24,
            keep={each.version for each in readers if each.version < table.version()},
            dry_run=self._dry_run,
        )
        log = self._lake.store(self._name.layer, self._name.table, "_delta_log")
        table.update_incremental()  # the vacuum is in the log, too
        if not self._dry_run:
            checkpoint_if_due(table, log)
        first = min(readers, key=lambda each: each.version, default=Reader("", table.version()))
        cleaned = clean_log(
            log,
            needed_from=first.version,
            older_than=now - timedelta(days=self._settings.log_days),
            dry_run=self._dry_run,
        )
        if table.version() - first.version > HELD_BACK:
            cared = replace(cared, remark=f"kept for {first.name}, which read version {first.version}")
        return replace(cared, vacuumed=vacuumed, log_entries=cleaned)


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
