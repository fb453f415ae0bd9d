"""`ad-lakehouse quarantine …`: rejected rows, listed, shown and replayed.

Not here: how it is done (files/quarantine.py, files/replay.py).
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, settings_for
from ad_lakehouse.settings import Settings

if TYPE_CHECKING:
    from kafka_sinks.sources import Source

quarantine_app = typer.Typer(help="Rejected rows: list, show, replay after a fix.", no_args_is_help=True)


@quarantine_app.command("list")
def quarantine_list(
    source: Annotated[str | None, typer.Option(help="Only this source")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason")] = None,
    since: Annotated[datetime | None, typer.Option(help="Landed since, UTC")] = None,
    limit: Annotated[int, typer.Option(help="Newest rows shown", min=1)] = 20,
    lake: LakeOption = None,
) -> None:
    """Count rejected rows by source and reason, and list the newest."""
    from ad_lakehouse import printing
    from ad_lakehouse.files.quarantine import Filter, count_rejected, list_rejected

    settings = settings_for(lake)
    sources_named(settings, source)
    where, only = lake_of(settings), Filter(source, reason, utc(since))
    console.print(printing.rejected_counts(count_rejected(where, only)))
    console.print(printing.rejected_rows(list_rejected(where, only, limit)))


def sources_named(settings: Settings, source: str | None) -> "dict[str, Source]":
    """All sources. Raises `ConfigurationError` when there is none of this name."""
    from ad_lakehouse.landing import selected
    from kafka_sinks.sources import load_sources

    every = load_sources(settings.landing.sources)
    selected(every, [source] if source else None)
    return every


def utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


@quarantine_app.command("show")
def quarantine_show(
    key: Annotated[str, typer.Argument(help="Key of the row, from list")], lake: LakeOption = None
) -> None:
    """Show one rejected row whole: where it came from, why it was rejected, its bytes."""
    from ad_lakehouse import printing
    from ad_lakehouse.files.quarantine import show

    shown = printing.rejected_row(show(lake_of(settings_for(lake)), key))
    console.print(shown, markup=False, highlight=False, soft_wrap=True)  # its bytes as they came, on one line


@quarantine_app.command("replay")
def quarantine_replay(
    source: Annotated[str | None, typer.Option(help="Only this source")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason")] = None,
    lake: LakeOption = None,
) -> None:
    """Decode rejected rows again with the sources as they are now; move those that are accepted."""
    from ad_lakehouse.files.quarantine import Filter
    from ad_lakehouse.files.replay import replay

    settings = settings_for(lake)
    reports = replay(lake_of(settings), sources_named(settings, source), settings, Filter(source, reason))
    for each in reports:
        if each.accepted or each.still:
            still = ", ".join(f"{name} {count:,}" for name, count in each.still.most_common())
            console.print(
                f"{each.source}: {each.accepted:,} accepted now, {each.still.total():,} still rejected {still}"
            )
    for error in [each.error for each in reports if each.error is not None]:
        raise error
    if not any(each.accepted or each.still for each in reports):
        console.print("Nothing is in quarantine.")
