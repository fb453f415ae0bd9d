"""`ad-lakehouse quarantine …`: rejected rows, listed, shown and replayed.

Not here: how it is done (files/quarantine.py, files/replay.py).
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, settings_for

quarantine_app = typer.Typer(help="Rejected rows: list, show, replay after a fix.", no_args_is_help=True)


@quarantine_app.command("list")
def quarantine_list(
    source: Annotated[str | None, typer.Option(help="Only this source")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason")] = None,
    since: Annotated[datetime | None, typer.Option(help="Landed since, UTC")] = None,
    limit: Annotated[int, typer.Option(help="Newest rows shown")] = 20,
    lake: LakeOption = None,
) -> None:
    """Count rejected rows by source and reason, and list the newest."""
    from ad_lakehouse import printing
    from ad_lakehouse.files.quarantine import Filter, count_rejected, list_rejected

    where, only = lake_of(settings_for(lake)), Filter(source, reason, utc(since))
    console.print(printing.rejected_counts(count_rejected(where, only)))
    console.print(printing.rejected_rows(list_rejected(where, only, limit)))


def utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


@quarantine_app.command("show")
def quarantine_show(
    key: Annotated[str, typer.Argument(help="Key of the row, from list")], lake: LakeOption = None
) -> None:
    """Show one rejected row whole: where it came from, why it was rejected, its bytes."""
    from ad_lakehouse import printing
    from ad_lakehouse.files.quarantine import show

    console.print(printing.rejected_row(show(lake_of(settings_for(lake)), key)), markup=False)


@quarantine_app.command("replay")
def quarantine_replay(
    source: Annotated[str | None, typer.Option(help="Only this source")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason")] = None,
    lake: LakeOption = None,
) -> None:
    """Decode rejected rows again with the sources as they are now; move those that are accepted."""
    from ad_lakehouse.files.quarantine import Filter
    from ad_lakehouse.files.replay import replay
    from kafka_sinks.sources import load_sources

    settings = settings_for(lake)
    reports = replay(lake_of(settings), load_sources(settings.landing.sources), settings, Filter(source, reason))
    for each in reports:
        if each.accepted or each.still:
            still = ", ".join(f"{name} {count:,}" for name, count in each.still.most_common())
            console.print(
                f"{each.source}: {each.accepted:,} accepted now, {each.still.total():,} still rejected {still}"
            )
    if not any(each.accepted or each.still for each in reports):
        console.print("Nothing is in quarantine.")
