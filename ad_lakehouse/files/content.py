"""One file's content into its tables, from its first record that is not there yet to its last.

Belongs here: how far a content is, its batches, a source that came later. Not here: which files are landed, and when
(landing.py), where records end (records.py), what they mean (reading.py, kafka_sinks/decode).

A content is known by the SHA-256 of its bytes. It is read in batches, each of them one commit to each of its tables
with the content's progress; one that is cut off between two commits goes on there.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import pyarrow.compute as pc

from ad_lakehouse.files.drop import DropFolder, Dropped, Opened
from ad_lakehouse.files.progress import Progress, app_id
from ad_lakehouse.files.reading import FileBroken, FileOrigin, Part, check_whole, read_parts
from ad_lakehouse.files.report import FileReport
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.settings import Settings
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.decode import HeaderUnfit
from kafka_sinks.decode.avro_blocks import ContainerUnreadable
from kafka_sinks.origin import reasons, reject_before
from kafka_sinks.sources import Source, bronze_schema


class ContentLanding:
    """The tables of one run, each opened once."""

    def __init__(self, lake: Lake, settings: Settings, clock: Callable[[], datetime], drop: DropFolder) -> None:
        self._lake, self._settings, self._clock, self._drop = lake, settings, clock, drop
        self._tables: dict[str, BronzeTable] = {}
        self._landed: dict[str, Mapping[str, int]] = {}

    def done_at_first(self, source: Source, content: str) -> bool:
        """Whether a table had a whole content when this run began; what is done stays so."""
        if source.name not in self._landed:
            table = self._table(source)
            self._landed[source.name] = TableLog(self._lake, table.name).transactions(table.version) or {}
        return Progress.of(self._landed[source.name].get(app_id(content))).done

    def land(self, opened: Opened, takers: Sequence[Source], wanted: Sequence[Source], report: FileReport) -> None:
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
