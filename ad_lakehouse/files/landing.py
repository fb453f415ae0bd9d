"""Landing a folder of files: each row of each file content in its table exactly once.

Belongs here: one file's way into its tables, the report. Not here: which files there are (drop.py), where records end
(records.py), what they mean (reading.py, kafka_sinks/decode), how far a file is (progress.py).

A file is known by the SHA-256 of its bytes: under another name it is the same file. It is read in batches, each of
them one commit to each of its tables with the file's progress; a file that is cut off between two commits goes on
there. Files younger than `settle_seconds` are left alone.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow.compute as pc

from ad_lakehouse.files.drop import DropFolder, Dropped, Opened, drop_folder, reason
from ad_lakehouse.files.files_table import FileRow, FilesTable, State
from ad_lakehouse.files.progress import Progress, app_id
from ad_lakehouse.files.reading import FileBroken, FileOrigin, Part, check_whole, read_parts
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.settings import Settings
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.decode import HeaderUnfit
from kafka_sinks.decode.avro_blocks import ContainerUnreadable
from kafka_sinks.origin import reasons, reject_before
from kafka_sinks.sources import Source, bronze_schema, sources_of_file

Outcome = Literal["landed", "already landed", "no source", "still being written", "changed while read", "broken"]
STATES: Mapping[Outcome, State] = {
    "landed": "landed",
    "already landed": "landed",
    "no source": "unclaimed",
    "still being written": "being_written",
    "changed while read": "changed",
    "broken": "broken",
}


@dataclass
class FileReport:
    """What became of one file. `path` is relative to the folder; `rows` and `rejected` are those of this run.

    `seen`: the file as it was when this became of it.
    """

    path: str
    seen: Dropped
    outcome: Outcome
    tables: tuple[TableName, ...] = ()
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    seconds: float = 0.0
    error: str = ""
    sha256: str = ""
    records: int = 0  # of the file, in its tables now, whichever run landed them
    began: int = 0  # with which record this run began

    @property
    def accepted(self) -> int:
        return self.rows - self.rejected.total()


def utc_now() -> datetime:
    return datetime.now(UTC)


def land_files(
    lake: Lake,
    sources: Mapping[str, Source],
    folder: str | Path,
    settings: Settings,
    *,
    only: Collection[str] | None = None,
    settle_seconds: float = 0.0,
    progress: Callable[[FileReport], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
) -> list[FileReport]:
    """Lands every file below the folder that a source takes, and reports on each; `progress` is told file by file.

    `folder` may be a prefix of an object store. What became of each file stands in the table `ops.files`, too.
    `only` names the tables to land into; `sources` must have all, for files that several share. A broken file does
    not stop the others. `settle_seconds`: files written to within this time are left for the next run; with 0 a
    writer must put files there whole (write under another name, then rename). Raises `ConfigurationError`.
    """
    drop = drop_folder(folder, settings.drop_options)
    dropped = list(drop.files())
    run = FilesRun(lake, settings, clock, drop, FilesTable(lake, [each.name for each in dropped]))
    reports = []
    try:
        for each in dropped:
            takers = sources_of_file(sources, PurePosixPath(each.name))
            if takers and only is not None and not any(source.name in only for source in takers):
                continue
            begun = time.monotonic()
            report = run.take(each, takers, only, settle_seconds)
            report.seconds = time.monotonic() - begun
            run.note(report, takers)
            reports.append(report)
            progress(report)
    finally:
        run.table.flush()
    return reports


class FilesRun:
    """One run over a folder: tables are opened once."""

    def __init__(
        self, lake: Lake, settings: Settings, clock: Callable[[], datetime], drop: DropFolder, table: FilesTable
    ) -> None:
        self._lake, self._settings, self._clock, self._drop, self.table = lake, settings, clock, drop, table
        self._tables: dict[str, BronzeTable] = {}
        self._landed: dict[str, Mapping[str, int]] = {}

    def take(
        self, dropped: Dropped, takers: Sequence[Source], only: Collection[str] | None, settle_seconds: float
    ) -> FileReport:
        """Lands a file if it is there whole and new."""
        wanted = [source for source in takers if only is None or source.name in only]
        tables = tuple(TableName("bronze", source.name) for source in wanted)
        report = FileReport(dropped.name, dropped, "landed", tables)
        if dropped.error:
            report.outcome, report.error = "broken", dropped.error
        elif not takers:
            report.outcome, report.error = "no source", "no source's `files` pattern takes it"
        elif self._is_younger(dropped, settle_seconds):
            report.outcome = "still being written"
        elif self._is_known(dropped, takers, wanted, report):
            report.outcome = "already landed"
        else:
            try:
                with self._drop.open(dropped.name) as opened:
                    if opened.seen.identity != dropped.identity:  # put there after the folder was listed
                        report.seen, report.sha256 = opened.seen, ""
                    if self._is_younger(report.seen, settle_seconds):
                        report.outcome = "still being written"
                    else:
                        self._land(opened, takers, wanted, report)
            except OSError as error:
                report.outcome, report.error = "broken", f"it cannot be read: {reason(error)}"
        return report

    def _is_younger(self, dropped: Dropped, seconds: float) -> bool:
        return (self._clock() - dropped.modified).total_seconds() < seconds

    def note(self, report: FileReport, takers: Sequence[Source]) -> None:
        """Writes down what became of a file."""
        dropped = report.seen
        now, before = self._clock(), self.table[dropped.name]
        state, told = STATES[report.outcome], report.error
        rejected = report.rejected.total() if report.began == 0 else None
        if report.outcome == "already landed":
            if before is not None and before.state in ("landed", "duplicate") and before.is_of(dropped):
                return
            rejected = before.rejected if before is not None and before.sha256 == report.sha256 else None
            others = [row.path for row in self.table.of_content(report.sha256) if row.path != dropped.name]
            if others:
                state, told = "duplicate", f"the same content landed as {others[0]}"
                report.records = rejected = 0
        row = FileRow(
            dropped.name, state, told, ", ".join(f"bronze.{source.name}" for source in takers), report.records,
            rejected, dropped.size, dropped.modified, report.sha256, dropped.identity, now, now.date(),
        )  # fmt: skip
        self.table.note(row)

    def _is_known(
        self, dropped: Dropped, takers: Sequence[Source], wanted: Sequence[Source], report: FileReport
    ) -> bool:
        """Whether a file that has not been written to since has landed in all `wanted` tables."""
        row = self.table[dropped.name]
        if row is None or not row.sha256 or not row.is_of(dropped):
            return False
        report.sha256 = row.sha256
        content = content_id(takers, row.sha256, dropped)
        return all(self._done_at_first(source, content) for source in wanted)

    def _done_at_first(self, source: Source, content: str) -> bool:
        """Whether a table had a whole content when this run began; what is done stays so."""
        if source.name not in self._landed:
            table = self._table(source)
            self._landed[source.name] = TableLog(self._lake, table.name).transactions(table.version) or {}
        return Progress.of(self._landed[source.name].get(app_id(content))).done

    def _land(self, opened: Opened, takers: Sequence[Source], wanted: Sequence[Source], report: FileReport) -> None:
        """Lands an open file into the wanted tables."""
        stream, seen = opened.stream, opened.seen
        report.sha256 = report.sha256 or hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        content = content_id(takers, report.sha256, seen)
        done = {source.name: self._progress(self._table(source), content) for source in wanted}
        report.records = max(each.rows for each in done.values())
        if any(each.done for each in done.values()) and not all(each.done for each in done.values()):
            late = self._came_later(wanted, done, content)
            wanted = [source for source in wanted if source.name not in late]
            if late:
                report.error = f"it landed before {', '.join(sorted(late))} shared it; its rows stay where they are"
        if all(done[source.name].done for source in wanted):
            report.outcome = "already landed"
            return
        report.began = min(done[source.name].rows for source in wanted)
        sharing = tuple(source.name for source in takers)
        origin = FileOrigin(seen.name, content, seen.modified, self._clock(), report.began, sharing)
        try:
            check_whole(stream, seen.name)
            for parts in read_parts(stream, takers, origin, self._settings):
                if not self._drop.same(opened):
                    report.outcome = "changed while read"
                    report.error = "it was written to meanwhile; set a settle time, or rename files into the folder"
                    break
                for part in parts:
                    if part.source in wanted:
                        self._add(report, self._land_part(part, origin))
                        report.records = max(report.records, part.end)
        except (FileBroken, HeaderUnfit, ContainerUnreadable) as error:
            report.outcome, report.error = "broken", str(error)

    def _add(self, report: FileReport, commit: Commit | None) -> None:
        if commit is not None:
            report.commits += 1
            report.rows += commit.rows.num_rows
            report.rejected += reasons(commit.rows)

    def _land_part(self, part: Part, origin: FileOrigin) -> Commit | None:
        """Commits one batch of a file to one table, but for what is there; None when all is."""
        place = {"file": origin.name, "sha256": origin.sha256, "takers": list(origin.takers)}

        def prepare(table: BronzeTable) -> Commit | None:
            there = self._progress(table, origin.sha256)
            if there.done or (not part.last and not part.records_from(there.rows)):
                return None
            rows = reject_before(table.retained_from, part.rows, part.raw)
            if part.records_from(there.rows) < len(part.numbers):  # else the same rows, whose files may be written
                rows = rows.filter(pc.greater_equal(part.rows["_row"], there.rows))
            records = part.records_from(there.rows)
            note = {**place, "start": there.rows, "end": part.end, "rows": records, "done": part.last}
            version = Progress(part.end, part.last).version
            return Commit(rows, [Delivery(app_id(origin.sha256), version, records, note)])

        return self._table(part.source).land(part.batch, prepare)

    def _came_later(self, wanted: Sequence[Source], done: Mapping[str, Progress], sha256: str) -> set[str]:
        """Sources that did not share the file when it landed: each of its rows is in another table already.

        Told by the commit that ended the file in a table where it is done; a source that shared it and has not got
        it whole was cut off, and goes on. Where that commit is gone from the log, a source that has nothing of the file
        came later: one that was cut off would have gone on long ago.
        """
        ended = next(source for source in wanted if done[source.name].done)
        table, oldest = self._table(ended), 0
        for commit in TableLog(self._lake, table.name).newest_first(table.version):
            oldest = commit.version
            for place in commit.note.get("delivered", []):
                if place.get("sha256") == sha256 and place.get("done") and "takers" in place:
                    return {source.name for source in wanted} - set(place["takers"])
        if not oldest:
            return set()
        return {each.name for each in wanted if self._table(each).landed(app_id(sha256)) is None}

    def _progress(self, table: BronzeTable, sha256: str) -> Progress:
        return Progress.of(table.landed(app_id(sha256)))

    def _table(self, source: Source) -> BronzeTable:
        if source.name not in self._tables:
            name, doc = TableName("bronze", source.name), str(source.schema.get("doc", ""))
            self._tables[source.name] = BronzeTable(self._lake, name, bronze_schema(source), doc)
        return self._tables[source.name]


def content_id(takers: Sequence[Source], sha256: str, seen: Dropped) -> str:
    """What a content is known by in the tables: its hash.

    Of a dimension, with name and time: an earlier version that is dropped again is news, the newest file holds.
    """
    if not all(source.dimension for source in takers):
        return sha256
    return hashlib.sha256(f"{sha256} {seen.name} {seen.modified.isoformat()}".encode()).hexdigest()
