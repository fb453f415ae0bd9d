"""Landing a folder of files: each row of each file content in its table exactly once.

Belongs here: which files are taken, one file's way into its tables, the report. Not here: where records end
(records.py), what they mean (reading.py, kafka_sinks/decode), how far a file is (progress.py).

A file is known by the SHA-256 of its bytes: under another name it is the same file. It is read in batches, each of
them one commit to each of its tables with the file's progress; a file that is cut off between two commits goes on
there. What is not a file of ours yet is left alone: names that begin with `.` or `_` or end in `.tmp` or `.part`,
and files younger than `settle_seconds`.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow.compute as pc

from ad_lakehouse.errors import ConfigurationError
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

UNFINISHED = (".tmp", ".part")
Outcome = Literal["landed", "already landed", "no source", "still being written", "changed while read", "broken"]


@dataclass
class FileReport:
    """What became of one file. `path` is relative to the folder; `rows` and `rejected` are those of this run."""

    path: str
    outcome: Outcome
    tables: tuple[TableName, ...] = ()
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    size: int = 0
    commits: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def accepted(self) -> int:
        return self.rows - self.rejected.total()


def utc_now() -> datetime:
    return datetime.now(UTC)


def land_files(
    lake: Lake,
    sources: Mapping[str, Source],
    folder: Path,
    settings: Settings,
    *,
    only: Collection[str] | None = None,
    settle_seconds: float = 0.0,
    progress: Callable[[FileReport], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
) -> list[FileReport]:
    """Lands every file below the folder that a source takes, and reports on each; `progress` is told file by file.

    `only` names the tables to land into; `sources` must have all, for files that several share. A broken file does
    not stop the others. `settle_seconds`: files written to within this time are left for the
    next run; with 0 a writer must put files there whole (write under another name, then rename).
    """
    check_folder(folder)
    run = FilesRun(lake, settings, clock)
    reports = []
    for path in files_below(folder):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        takers = sources_of_file(sources, name)
        begun = time.monotonic()
        try:
            age = clock().timestamp() - path.stat().st_mtime
        except OSError as error:  # gone since it was listed, or a link to nothing
            reports.append(FileReport(str(name), "broken", error=f"it cannot be read: {error.strerror}"))
            progress(reports[-1])
            continue
        if takers and only is not None and not any(source.name in only for source in takers):
            continue
        if not takers:
            report = FileReport(str(name), "no source", error="no source's `files` pattern takes it")
        elif age < settle_seconds:
            report = FileReport(str(name), "still being written")
        else:
            report = run.land(path, str(name), takers, only)
        report.seconds = time.monotonic() - begun
        reports.append(report)
        progress(report)
    return reports


def check_folder(folder: Path) -> None:
    """Raises `ConfigurationError` when there is no such folder."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"Drop folder {folder}: there is no such folder.", remedy="Create it, or correct AD_LAKEHOUSE_DROP_FOLDER."
        )


def files_below(folder: Path) -> Iterator[Path]:
    """Files that may be landed, in the order of their names."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(names):
            if not name.startswith((".", "_")) and not name.endswith(UNFINISHED):
                yield Path(parent, name)


class FilesRun:
    """One run over a folder: tables are opened once."""

    def __init__(self, lake: Lake, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._lake, self._settings, self._clock = lake, settings, clock
        self._tables: dict[str, BronzeTable] = {}

    def land(self, path: Path, name: str, takers: Sequence[Source], only: Collection[str] | None) -> FileReport:
        """Lands one file into the tables of the sources that take it."""
        wanted = [source for source in takers if only is None or source.name in only]
        report = FileReport(name, "landed", tuple(TableName("bronze", source.name) for source in wanted))
        try:
            stream = path.open("rb")
        except OSError as error:
            report.outcome, report.error = "broken", f"it cannot be read: {error.strerror}"
            return report
        with stream:
            seen = os.fstat(stream.fileno())
            report.size = seen.st_size
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            if all(source.dimension for source in takers):
                # An earlier version of a dimension that is dropped again is news: the newest file holds.
                sha256 = hashlib.sha256(f"{sha256} {name} {seen.st_mtime_ns}".encode()).hexdigest()
            done = {source.name: self._progress(self._table(source), sha256) for source in wanted}
            if any(each.done for each in done.values()) and not all(each.done for each in done.values()):
                late = self._came_later(wanted, done, sha256)
                wanted = [source for source in wanted if source.name not in late]
                if late:
                    report.error = f"it landed before {', '.join(sorted(late))} shared it; its rows stay where they are"
            if all(done[source.name].done for source in wanted):
                report.outcome = "already landed"
                return report
            modified = datetime.fromtimestamp(seen.st_mtime_ns // 1_000 / 1_000_000, UTC)
            from_row = min(done[source.name].rows for source in wanted)
            sharing = tuple(source.name for source in takers)
            origin = FileOrigin(name, sha256, modified, self._clock(), from_row, sharing)
            try:
                check_whole(stream, name)
                for parts in read_parts(stream, takers, origin, self._settings):
                    if not same_file(seen, os.fstat(stream.fileno())):
                        report.outcome = "changed while read"
                        report.error = "it was written to meanwhile; set a settle time, or rename files into the folder"
                        break
                    for part in parts:
                        if part.source in wanted:
                            self._add(report, self._land_part(part, origin))
            except (FileBroken, HeaderUnfit, ContainerUnreadable) as error:
                report.outcome, report.error = "broken", str(error)
        return report

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
            new = pc.greater_equal(part.rows["_row"], there.rows)
            rows = reject_before(table.retained_from, part.rows, part.raw).filter(new)
            records = part.records_from(there.rows)
            note = {**place, "start": there.rows, "end": part.end, "rows": records, "done": part.last}
            version = Progress(part.end, part.last).version
            return Commit(rows, [Delivery(app_id(origin.sha256), version, records, note)])

        return self._table(part.source).land(part.batch, prepare)

    def _came_later(self, wanted: Sequence[Source], done: Mapping[str, Progress], sha256: str) -> set[str]:
        """Sources that did not share the file when it landed: each of its rows is in another table already.

        Told by the commit that ended the file in a table where it is done; a source that shared it and has not got
        it whole was cut off, and goes on.
        """
        ended = next(source for source in wanted if done[source.name].done)
        table = self._table(ended)
        for commit in TableLog(self._lake, table.name).newest_first(table.version):
            for place in commit.note.get("delivered", []):
                if place.get("sha256") == sha256 and place.get("done") and "takers" in place:
                    return {source.name for source in wanted} - set(place["takers"])
        return set()

    def _progress(self, table: BronzeTable, sha256: str) -> Progress:
        return Progress.of(table.landed(app_id(sha256)))

    def _table(self, source: Source) -> BronzeTable:
        if source.name not in self._tables:
            name, doc = TableName("bronze", source.name), str(source.schema.get("doc", ""))
            self._tables[source.name] = BronzeTable(self._lake, name, bronze_schema(source), doc)
        return self._tables[source.name]


def same_file(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether nobody wrote to a file in between."""
    return (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
