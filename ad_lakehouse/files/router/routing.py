"""Routing a folder: one file's way to its topics, the report.

Belongs here: deciding what becomes of each file. Not here: the reports (reports.py), which files there are
(files/drop.py), what a row is on its topic (chunks.py), transactions (sending.py), what is known (progress.py).
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Self

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.files.drop import DropFolder, Dropped, Opened, drop_folder, reason
from ad_lakehouse.files.reading import FileBroken, check_whole
from ad_lakehouse.files.router.chunks import Chunk, read_chunks
from ad_lakehouse.files.router.progress import (
    Content,
    FileState,
    Progress,
    content_id,
    content_record,
    file_record,
    read_progress,
)
from ad_lakehouse.files.router.reports import LASTING, LONGEST_REASON, RouteReport, file_state
from ad_lakehouse.files.router.sending import Sender, Sent
from ad_lakehouse.files.router.topics import absent_topics, ensure_topic, largest_message
from ad_lakehouse.files.router.writers import SchemaNotTaken, Writers
from ad_lakehouse.settings import Settings
from kafka_sinks.decode import ContainerUnreadable, HeaderUnfit, RegistryUnavailable
from kafka_sinks.sources import Source, sources_of_file

NAMED_UNSENT = 20  # rows that a state names; of more only the number
BROKEN = (FileBroken, HeaderUnfit, ContainerUnreadable, SchemaNotTaken)


def utc_now() -> datetime:
    return datetime.now(UTC)


def refuse_landed(where: str, settings: Settings) -> None:
    """Raises `ConfigurationError` when the folder is landed, too: each row would be in its table twice."""
    landed = settings.drop_folder
    same = landed == where or (
        landed is not None and "://" not in landed + where and Path(landed).resolve() == Path(where).resolve()
    )
    if same:
        raise ConfigurationError(
            f"{where} is the drop folder that is landed: its rows would come twice, as files and by their topics.",
            remedy="Route another folder, or unset AD_LAKEHOUSE_DROP_FOLDER.",
        )


class Router:
    """The only router of its progress topic; a context manager.

    Entering it fences every other one, then reads what is routed. Raises `KafkaUnreachable`, `SendFailed`,
    `ConfigurationError`.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        folder: str | Path,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopped` is asked before each file and transaction: what is not begun then is left for the next run."""
        self._drop: DropFolder = drop_folder(folder, settings.drop_options)
        self._sources, self._settings, self._clock, self._stopped = sources, settings, clock, stopped
        wanted = sorted({source.topic for source in sources.values() if source.topic})
        self._topic = ensure_topic(settings)
        self._absent = absent_topics(settings, wanted)
        self._largest = largest_message(settings, [topic for topic in wanted if topic not in self._absent])
        self._sender = Sender(settings, self._largest)
        self._writers = Writers(settings.kafka)
        self._pending: dict[str, FileState] = {}
        self._told: dict[str, str] = {}  # identities of files that cannot be routed as they are
        self.errors: list[LakehouseError] = []  # why files of the last run wait
        self.progress = Progress()

    def __enter__(self) -> Self:
        self._sender.__enter__()
        self.progress = read_progress(self._settings, self._topic)  # after the fence: nobody else commits now
        return self

    def __exit__(self, *error: object) -> None:
        self._sender.__exit__(*error)

    def route(
        self, settle_seconds: float = 0.0, progress: Callable[[RouteReport], None] = lambda _: None
    ) -> list[RouteReport]:
        """Routes what is new in the folder; a report of each file, told to `progress` as it comes.

        A broken file does not stop the others, nor does a registry that cannot be asked (`errors` says why). Files
        written to within `settle_seconds` are left for the next time. Raises `RouterFenced`, `SendFailed`,
        `KafkaUnreachable`.
        """
        reports = []
        self.errors = []
        self._see_new_topics()
        for dropped in self._drop.files():
            if self._stopped():
                break
            if dropped.identity and self._told.get(dropped.name) == dropped.identity:
                continue
            begun = time.monotonic()
            report = self._take(dropped, settle_seconds)
            report.seconds = time.monotonic() - begun
            if report.outcome in LASTING and not report.passing:
                self._told[dropped.name] = report.seen.identity
            reports.append(report)
            progress(report)
        if self._pending:
            self._send(tuple)
        return reports

    def _see_new_topics(self) -> None:
        """Takes up files again whose topic came meanwhile."""
        if not self._absent or not (came := self._absent - absent_topics(self._settings, sorted(self._absent))):
            return
        self._absent -= came
        self._largest = min(self._largest, largest_message(self._settings, sorted(came)))
        self._told.clear()

    def _take(self, dropped: Dropped, settle_seconds: float) -> RouteReport:
        takers = sources_of_file(self._sources, PurePosixPath(dropped.name))
        topics = tuple(sorted({source.topic for source in takers if source.topic}))
        report = RouteReport(dropped.name, dropped, "routed", topics)
        without = [source.name for source in takers if not source.topic]
        absent = [topic for topic in topics if topic in self._absent]
        if dropped.error:
            report.outcome, report.error = "broken", dropped.error
        elif not takers:
            report.outcome, report.error = "no source", "no source's `files` pattern takes it"
        elif without:
            report.outcome, report.error = "no source", f"{', '.join(without)} has no topic; land it as a file"
        elif absent:
            report.outcome, report.error = "no topic", f"the broker has no topic {', '.join(absent)}; create it"
        elif self._is_younger(dropped, settle_seconds):
            report.outcome = "still being written"
        elif self._is_known(dropped, takers):
            report.outcome = "already routed"
        else:
            try:
                with self._drop.open(dropped.name) as opened:
                    report.seen = opened.seen
                    if opened.seen.error:
                        report.outcome, report.error = "broken", opened.seen.error
                    elif self._is_younger(opened.seen, settle_seconds):
                        report.outcome = "still being written"
                    else:
                        self._route(opened, takers, report)
            except OSError as error:
                report.outcome, report.error = "broken", f"it cannot be read: {reason(error)}"
                report.passing = True
            except (RegistryUnavailable, ConfigurationError) as error:
                report.outcome, report.error = "no registry", error.message
                self.errors.append(error)
        self._note(report)
        return report

    def _is_younger(self, dropped: Dropped, seconds: float) -> bool:
        return (self._clock() - dropped.modified).total_seconds() < seconds

    def _is_known(self, dropped: Dropped, takers: Sequence[Source]) -> bool:
        """Whether a file that has not been written to since is routed whole."""
        state = self.progress.files.get(dropped.name)
        if state is None or state.identity != dropped.identity:
            return False
        content = self.progress.contents.get(content_id(takers, state.sha256))
        return content is not None and content.done

    def _route(self, opened: Opened, takers: Sequence[Source], report: RouteReport) -> None:
        stream, seen = opened.stream, opened.seen
        report.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        report.content = content_id(takers, report.sha256)
        before = self.progress.contents.get(report.content, Content())
        if before.done:
            report.outcome = "already routed"
            return
        try:
            check_whole(stream, seen.name)
            for chunk in read_chunks(
                stream, seen.name, takers, before.rows, self._settings.router, self._largest, self._writers.id_of
            ):
                if not self._drop.same(opened):
                    report.outcome = "changed while read"
                    report.error = "it was written to meanwhile; set a settle time, or rename files into the folder"
                    return
                if self._stopped():
                    report.outcome = "stopped"
                    return
                self._send_chunk(chunk, report)
        except BROKEN as error:
            report.outcome, report.error = "broken", str(error)[:LONGEST_REASON]

    def _send_chunk(self, chunk: Chunk, report: RouteReport) -> None:
        """One transaction: rows, how far their content is, and what became of the file when these are its last."""
        before = self.progress.contents.get(report.content, Content(file=report.path))
        report.unsent += len(chunk.unsent)
        report.named = [*report.named, *chunk.unsent][:NAMED_UNSENT]
        content = replace(
            before,
            rows=chunk.end,
            done=chunk.last,
            unsent=before.unsent + len(chunk.unsent),
            named=(*before.named, *(f"row {each.row}: {each.reason}" for each in chunk.unsent))[:NAMED_UNSENT],
        )
        if chunk.last:
            self._keep(self._state(report, content))
        self._send(lambda: chunk.messages(report.path, report.sha256), content_record(report.content, content))
        report.rows += chunk.rows
        self.progress.contents[report.content] = content

    def _note(self, report: RouteReport) -> None:
        """Has what became of a file written down, with the next transaction."""
        if report.outcome not in ("no registry", "still being written", "stopped"):
            self._keep(self._state(report, self.progress.contents.get(report.content, Content())))

    def _keep(self, state: FileState) -> None:
        before = self.progress.files.get(state.name)
        if before is None or replace(state, at=before.at) != before:
            self._pending[state.name] = state

    def _state(self, report: RouteReport, content: Content) -> FileState:
        known = self.progress.files.get(report.path)
        if report.outcome == "already routed" and not report.sha256 and known is not None:
            return known
        return file_state(report, content, self._clock())

    def _send(self, rows: Callable[[], Iterable[Sent]], *records: tuple[bytes, bytes]) -> None:
        """Commits rows with records of the progress topic, and what is to be noted of files."""
        states = dict(self._pending)
        known = [*records, *(file_record(state) for state in states.values())]
        self._sender.send(lambda: chain(rows(), (Sent(self._topic.name, value, key) for key, value in known)))
        self.progress.files |= states
        self._pending = {}
