"""Care of one table's files: small ones become large ones, those that nobody needs any more go.

Belongs here: compaction, vacuum, log clean-up. Not here: how far back others still read a log and the order of things
(ad_lakehouse/maintenance.py), rows deleted on purpose (retention.py).

No row changes. A compaction says so of each file (`dataChange` false), so nothing is built anew from it; a reader that
has pinned a version keeps its files until the vacuum, days later.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import obstore
from deltalake import DeltaTable, WriterProperties

LOG_ENTRY = re.compile(r"(\d{20})\.(.+)")
CHECKPOINT = "checkpoint.parquet"  # of one part: what delta-rs writes, and Spark unless told otherwise
MANY = 5_000  # files of a table
AT_ONCE = 1_000  # what an object store deletes by one request
REMEMBER, FORGOTTEN_AFTER = "delta.deletedFileRetentionDuration", 7  # days
CHECKPOINT_AFTER = 10  # commits that a reader may have to read one by one


@dataclass(frozen=True)
class Compacted:
    """What a compaction did, or would do at most: partitions (days) it rewrote, how many fewer files there are."""

    partitions: int = 0
    fewer: int = 0


NOT_COMPACTED = Compacted()


@dataclass(frozen=True)
class SmallFiles:
    """The partitions that hold enough small files to be worth a compaction; `None` stands for rejected rows."""

    column: str | None
    counts: dict[str | None, int]

    @classmethod
    def of(cls, table: DeltaTable, *, target_bytes: int, at_least: int) -> "SmallFiles":
        """Counts the files below half of `target_bytes`, two of which fit into one; from the log alone."""
        columns = table.metadata().partition_columns
        column = columns[0] if columns else None
        actions = table.get_add_actions(flatten=True)
        names = actions.schema.names
        sizes = actions.column(names.index("size_bytes")).to_pylist()
        days = actions.column(names.index(f"partition.{column}")).to_pylist() if column else [None] * len(sizes)
        small = [day for day, size in zip(days, sizes, strict=True) if size < target_bytes // 2]
        counts = Counter(None if day is None else str(day) for day in small)
        return cls(column, {day: count for day, count in counts.items() if count >= at_least})

    @property
    def files(self) -> int:
        return sum(self.counts.values())

    @property
    def at_most(self) -> Compacted:
        """What compacting them may come to."""
        return Compacted(len(self.counts), self.files - len(self.counts))

    def filters(self) -> Iterator[list[tuple[str, str, Any]] | None]:
        """What delta-rs takes to mean these partitions; that of the nulls it finds by itself only."""
        if self.column is None:
            yield from [None] if self.counts else []
            return
        if days := [day for day in self.counts if day is not None]:
            yield [(self.column, "in", days)]
        if None in self.counts:
            yield [(self.column, "=", "")]


def compact(table: DeltaTable, small: SmallFiles, *, target_bytes: int) -> Compacted:
    """Rewrites the small files of these partitions, in their order, as files of about `target_bytes`.

    Writers that only add go on meanwhile. Raises `CommitFailedError` when another writer has replaced or deleted the
    same files meanwhile; what is done of it then is done.
    """
    partitions = fewer = 0
    # delta-rs opens all files that become one: of very many it makes larger ones first
    steps = [target_bytes >> 4, target_bytes] if small.files > MANY else [target_bytes]
    for filters in small.filters():
        rewritten = 0
        for target in steps:
            figures = table.optimize.compact(
                partition_filters=filters,
                target_size=target,
                max_concurrent_tasks=1,  # a task holds the files of a day; landing and building need the memory
                writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            )
            fewer += figures["numFilesRemoved"] - figures["numFilesAdded"]
            rewritten = max(rewritten, figures["partitionsOptimized"])
        partitions += rewritten
    return Compacted(partitions, fewer)


def remember_removed(table: DeltaTable, days: int) -> None:
    """Has the log remember removed files for so many days; else it forgets them after seven.

    A vacuum takes a file that the log has forgotten for one that was never committed, and goes by when it was written.
    """
    if days > FORGOTTEN_AFTER:
        wanted = f"interval {days} days"
        if table.metadata().configuration.get(REMEMBER) != wanted:
            table.alter.set_table_properties({REMEMBER: wanted})


def vacuum(table: DeltaTable, *, hours: int, keep: Collection[int], dry_run: bool) -> int:
    """Deletes files that no version of the last `hours` has, nor one of the versions to `keep`; returns how many.

    Those of commits that never came, too: a writer that is cut off leaves its data files behind. One that is still at
    work has younger ones.
    """
    gone = table.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=True, keep_versions=sorted(keep))
    return len(gone)


def checkpoint_if_due(table: DeltaTable, store: Any) -> None:
    """Sums up the log when it has many commits behind its last checkpoint. `store` is that of the log."""
    last = max((version for version, kind in log_entries(store) if kind == CHECKPOINT), default=-1)
    if table.version() - last > CHECKPOINT_AFTER:
        table.create_checkpoint()


def clean_log(store: Any, *, needed_from: int, older_than: datetime, dry_run: bool) -> int:
    """Deletes the log's entries before a checkpoint; returns how many. `store` is that of the log.

    The checkpoint is the newest one that stands at or before version `needed_from` and was written before
    `older_than`. Versions from it on stay readable.
    """
    entries = log_entries(store)
    kept = max(
        (
            version
            for (version, kind), written in entries.items()
            if kind == CHECKPOINT and version <= needed_from and written < older_than
        ),
        default=0,
    )
    # The oldest first: cut off anywhere, what is left of the log has no hole.
    gone = sorted((version, kind) for version, kind in entries if version < kept)
    names = [f"{version:020d}.{kind}" for version, kind in gone]
    for start in range(0, 0 if dry_run else len(names), AT_ONCE):
        delete(store, names[start : start + AT_ONCE])
    return len(gone)


def delete(store: Any, names: list[str]) -> None:
    """Deletes files, some of which another one may just have deleted."""
    try:
        obstore.delete(store, names)
    except FileNotFoundError:
        for name in names:
            with suppress(FileNotFoundError):
                obstore.delete(store, name)


def log_entries(store: Any) -> dict[tuple[int, str], datetime]:
    """(version, kind of file) → when it was written, of all there is of a log's own folder."""
    found = {}
    for each in obstore.list_with_delimiter(store)["objects"]:
        named = LOG_ENTRY.fullmatch(each["path"])
        if named:
            found[int(named[1]), named[2]] = each["last_modified"]
    return found
