"""`ad-lakehouse route`: dropped files to the topics of their sources.

Belongs here: options, signals, what is printed. Not here: routing (files/router).
"""

import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from ad_lakehouse.cli_options import console
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from ad_lakehouse.files.router.progress import FileState
    from ad_lakehouse.files.router.reports import RouteReport


def route(
    folder: Annotated[
        str | None,
        typer.Argument(help="Folder, or URL of a prefix [env AD_LAKEHOUSE_ROUTER__FOLDER]", metavar="PATH|URL"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Do not stop: route files as they come")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show what became of each file; route nothing")] = False,
) -> None:
    """Send the rows of dropped files to the Kafka topics of their sources, each row exactly once."""
    settings = load_settings()
    if status:
        console.print(states(known(settings)))
        return
    where = folder or settings.router.folder
    if where is None:
        raise typer.BadParameter("name a folder, or set AD_LAKEHOUSE_ROUTER__FOLDER")
    from ad_lakehouse.files.router.routing import refuse_landed

    refuse_landed(where, settings)
    settle = settings.landing.settle_seconds if follow or folder is None else 0.0
    reports, errors = run(where, settings, settle, follow)
    if not follow:
        console.print(routed(reports))
    if errors:
        raise errors[0]
    if any(each.failed for each in reports):
        raise typer.Exit(1)


def run(
    where: str, settings: Settings, settle_seconds: float, follow: bool
) -> "tuple[list[RouteReport], list[LakehouseError]]":
    """The reports of one run, and why files wait.

    With `follow` none: each file is told as it comes, until SIGINT or SIGTERM. A signal lets the transaction under way
    end; the same signal again ends it at once.
    """
    from ad_lakehouse.files.router.follow import follow as until_stopped
    from ad_lakehouse.files.router.routing import Router
    from kafka_sinks.sources import load_sources

    stop = threading.Event()
    told: dict[str, str] = {}

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    sources = load_sources(settings.landing.sources)

    def make() -> Router:
        return Router(sources, where, settings, stopped=stop.is_set)

    if not follow:
        with make() as router:
            return router.route(settle_seconds), router.errors
    return [], until_stopped(
        make,
        stop,
        settle_seconds=settle_seconds,
        poll_seconds=settings.router.poll_seconds,
        begins=lambda: console.print(f"Routing {where} as files come, until Ctrl-C.", markup=False),
        progress=lambda each: tell(each, told),
        waits=lambda error, seconds: console.print(f"{error} Trying again in {seconds:.0f} s.", markup=False),
    )


def known(settings: Settings) -> "list[FileState]":
    """What became of each file, by name. Raises `KafkaUnreachable`."""
    from ad_lakehouse.files.router.progress import read_progress
    from kafka_sinks.cluster import Cluster, TopicMissing

    try:
        topic = Cluster(settings.kafka).topic(settings.router.progress_topic)
    except TopicMissing:  # before the first run
        return []
    return sorted(read_progress(settings, topic).files.values(), key=lambda each: each.name)


def tell(report: "RouteReport", told: dict[str, str]) -> None:
    """One line a file, of a service; nothing of one that is known or waits, and nothing twice in a row."""
    if report.outcome in ("already routed", "still being written"):
        return
    words = f": {why}" if (why := report.error or unsent(report)) else ""
    line = f"{report.path}: {report.outcome}, {report.rows:,} rows{words}"
    if report.failed:
        if told.get(report.path) == line:
            return
        told[report.path] = line
    console.print(line, markup=False)


def unsent(report: "RouteReport") -> str:
    named = "; ".join(f"row {each.row}: {each.reason}" for each in report.named[:3])
    return named + (f" and {report.unsent - 3:,} more rows" if report.unsent > 3 else "")


def routed(reports: "Iterable[RouteReport]") -> "Table":
    """One line a file."""
    from rich.markup import escape

    from ad_lakehouse.printing import number, table

    made = table("file", "became", "topic", "rows", "not sent", "why", right=["rows", "not sent"])
    for each in reports:
        made.add_row(
            escape(each.path),
            each.outcome,
            " + ".join(each.topics),
            number(each.rows),
            number(each.unsent),
            escape(each.error or unsent(each)),
        )
    return made


def states(found: "Iterable[FileState]") -> "Table":
    """One line a file."""
    from rich.markup import escape

    from ad_lakehouse.printing import number, table

    made = table("file", "state", "topic", "rows", "not sent", "when", "sha256", "why", right=["rows", "not sent"])
    for each in found:
        made.add_row(
            escape(each.name),
            each.state,
            " + ".join(each.topics),
            number(each.rows),
            number(each.unsent),
            each.at[:19],
            each.sha256[:12],
            escape(each.reason),
        )
    return made
