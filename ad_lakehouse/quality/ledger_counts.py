"""What a bronze table's log says was delivered, and what stands in its files.

Belongs here: reading commit notes, counting rows by origin and batch. Not here: comparing the two
(ledger_landing.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import duckdb

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import Commit, TableLog
from ad_lakehouse.lake.views import DataFile, Snapshot
from ad_lakehouse.quality.ledger_rows import Found

REMOVING = frozenset({"retention", "erasure"})  # kinds of commits that delete rows on purpose
FILE_BYTES = 100_000
FILES_AT_ONCE = 1_000  # DuckDB holds some 80 kB of each file that a query names
Subject = tuple[str, str]  # kind, name
Counts = dict[Subject, dict[str, Found]]  # by subject and batch


@dataclass(frozen=True)
class Delivery:
    """One entry of a commit's `delivered` list: [start, end) of offsets, or of a file's records.

    Of a file that feeds several tables each takes its records; the range counts all of them.
    """

    batch: str
    subject: Subject
    records: int
    lost: bool = False
    chain: str = ""  # topic id or SHA-256: a recreated topic, or another file of that name, begins anew
    start: int = 0
    end: int = 0
    done: bool = False  # the file ends here


def deliveries(commits: Iterable[Commit]) -> list[Delivery]:
    """What the commits say was delivered, oldest first."""
    found = []
    for commit in commits:
        note = commit.note
        for each in note.get("delivered") or ():
            records = each.get("records", each.get("rows", 0))
            if "topic" in each:
                subject = ("topic_partition", f"{each['topic']}[{each['partition']}]")
                chain = f"{each.get('topic_id', '')}:{each['partition']}"
                lost = bool(each.get("lost"))
                found.append(Delivery(note["batch"], subject, records, lost, chain, each["start"], each["end"]))
            else:
                place = {"chain": str(each["sha256"]), "start": each["start"], "end": each["end"]}
                found.append(Delivery(note["batch"], ("file", each["file"]), records, done=bool(each["done"]), **place))
    return found


def follow(ends: Mapping[str, int], new: Sequence[Delivery]) -> tuple[dict[str, int], int, int]:
    """Ends of each chain after the new deliveries; offsets lost with consent; offsets in no batch."""
    after, lost, gap = dict(ends), 0, 0
    for each in new:
        if each.lost:
            lost += max(0, each.end - each.start)
        gap += abs(each.start - after.get(each.chain, each.start))
        after[each.chain] = each.end
    return after, lost, gap


def followed_contents(before: Mapping[str, Mapping[str, Any]], new: Sequence[Delivery]) -> dict[str, dict[str, Any]]:
    """For each content (SHA-256) of a file: rows that one table took, records read so far, whether all are read."""
    after = {chain: dict(content) for chain, content in before.items()}
    for each in new:
        rows = after.get(each.chain, {}).get("rows", 0) + each.records
        after[each.chain] = {"rows": rows, "end": each.end, "done": each.done}
    return after


class LandedTable:
    """One version of a bronze table: its log, and its rows counted."""

    def __init__(self, lake: Lake, name: TableName, connection: duckdb.DuckDBPyConnection) -> None:
        self.name = name
        self.snapshot = Snapshot.of(name, lake.open(name))
        self.log = TableLog(lake, name)
        self._base = lake.uri(name)
        self._connection = connection

    @property
    def state(self) -> dict[str, Any]:
        """What the ledger records of the version it read."""
        return {"id": self.snapshot.table_id, "version": self.snapshot.version}

    @cached_property
    def commits(self) -> list[Commit]:
        """Every commit that the log still has, oldest first."""
        return list(self.log.newest_first(self.snapshot.version))[::-1]

    def rows(self) -> int | None:
        """Rows by the table's own statistics."""
        counts = [file.rows for file in self.snapshot.files]
        return None if None in counts else sum(count or 0 for count in counts)

    def all_counts(self) -> Counts:
        return self._count(self.snapshot.files)

    def appended_counts(self, commits: Iterable[Commit]) -> Counts | None:
        """Rows of the files that landings added.

        None when such a file was compacted and vacuumed meanwhile, or when counting the whole table is less work: after
        a compaction it has fewer files.
        """
        added = [self._files(commit, "add") for commit in commits if commit.note.get("delivered")]
        if work(file for files in added for file in files) > work(self.snapshot.files):
            return None
        found: Counts = defaultdict(dict)
        try:
            for files in grouped(added, FILES_AT_ONCE):
                for subject, batches in self._count(files).items():
                    found[subject] |= batches  # a batch is one commit, so it is in one group
        except duckdb.IOException:
            return None
        return dict(found)

    def retired_counts(self, commits: Iterable[Commit]) -> dict[Subject, int] | None:
        """Rows that commits deleted on purpose; None when their files are gone already."""
        retired: dict[Subject, int] = defaultdict(int)
        for commit in commits:
            if commit.note.get("kind") not in REMOVING:
                continue
            for action, sign in (("remove", 1), ("add", -1)):
                try:
                    counted = self._count(self._files(commit, action))
                except duckdb.IOException:
                    return None
                for subject, batches in counted.items():
                    retired[subject] += sign * sum(each.rows for each in batches.values())
        return dict(retired)

    def _files(self, commit: Commit, action: str) -> list[DataFile]:
        found = [(each[action]["path"], each[action].get("size") or 0) for each in commit.actions if action in each]
        return [DataFile(f"{self._base}/{unquote(path)}", None, size, None) for path, size in found]

    def _count(self, files: Sequence[DataFile]) -> Counts:
        """Rows by origin and batch. One number an origin: the offset, or the row of the file."""
        found: Counts = defaultdict(dict)
        rows = self._connection.execute(f"""
            select _topic, _partition, _file, coalesce(_batch, '(none)'),
                   count(*) filter (where _reason is null), count(*) filter (where _reason is not null),
                   count(distinct coalesce(_offset, _row))
            from ({self.snapshot.query(self._connection, files)})
            group by all
        """).fetchall()  # fmt: skip
        for topic, partition, file, batch, *numbers in rows:
            found[_subject(topic, partition, file)][batch] = Found(*numbers)
        return dict(found)


def work(files: Iterable[DataFile]) -> int:
    """What counting files costs, in bytes: what they hold, and opening each."""
    return sum(file.size + FILE_BYTES for file in files)


def grouped(commits: Iterable[Sequence[DataFile]], at_least: int) -> Iterator[list[DataFile]]:
    """The files of commits in groups of at least so many, each commit's in one group."""
    group: list[DataFile] = []
    for files in commits:
        group += files
        if len(group) >= at_least:
            yield group
            group = []
    if group:
        yield group


def is_landing(commit: Commit) -> bool:
    """Whether the commit changed no rows, or only added those it says it delivered."""
    changed = commit.changed_files()
    if commit.note.get("kind") in REMOVING:
        return not any("remove" in action for action in commit.actions)
    added = sum("add" in action for action in commit.actions)
    return not changed or (bool(commit.note.get("delivered")) and len(changed) == added)


def _subject(topic: Any, partition: Any, file: Any) -> Subject:
    if topic is not None and file is None:
        return "topic_partition", f"{topic}[{partition}]"
    return ("file", str(file)) if file is not None and topic is None else ("unknown_origin", "(no topic, no file)")
