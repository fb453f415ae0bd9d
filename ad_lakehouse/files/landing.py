"""Landing a folder of files: each row of each file content in its table exactly once.

Belongs here: which of its files land now, and telling what became of each. Not here: the folder (drop.py), one
content's way into its tables (content.py), what is kept of a file (files_table.py).

A file is known by the SHA-256 of its bytes: under another name it is the same file. Files younger than
`settle_seconds` are left alone.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from ad_lakehouse.files.content import ContentLanding, content_id
from ad_lakehouse.files.drop import DropFolder, Dropped, drop_folder, reason
from ad_lakehouse.files.files_table import FileRow, FilesTable
from ad_lakehouse.files.report import STATES, FileReport
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source, sources_of_file


def utc_now() -> datetime:
    return datetime.now(UTC)


def land_files(
    lake: Lake,
    sources: Mapping[str, Source],
    folder: str | Path | DropFolder,
    settings: Settings,
    *,
    only: Collection[str] | None = None,
    settle_seconds: float = 0.0,
    progress: Callable[[FileReport], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
) -> list[FileReport]:
    """Lands every file below the folder that a source takes, and reports on each; `progress` is told file by file.

    `folder` may be a prefix of an object store, or a `DropFolder` that several landings share. What became of each
    file stands in the table `ops.files`, too.
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
    """One run over a folder."""

    def __init__(
        self, lake: Lake, settings: Settings, clock: Callable[[], datetime], drop: DropFolder, table: FilesTable
    ) -> None:
        self._clock, self._drop, self.table = clock, drop, table
        self._content = ContentLanding(lake, settings, clock, drop)

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
                        self._content.land(opened, takers, wanted, report)
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
        return all(self._content.done_at_first(source, content) for source in wanted)
