"""`ad-lakehouse register`: the lake's tables in the catalog of a Trino, as Dagster's job does it.

Not here: how it is done (warehouse/).
"""

from typing import Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, settings_for


def register(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done")] = False,
    lake: LakeOption = None,
) -> None:
    """Make Trino's catalog, and so its metastore, know each table of the lake. No data change."""
    from ad_lakehouse import printing
    from ad_lakehouse.warehouse.register import register as make_known

    settings = settings_for(lake)
    with console.status("Asking Trino …") as state:
        done = make_known(
            lake_of(settings),
            settings.trino,
            dry_run=dry_run,
            progress=lambda what: state.update(f"Registering: {what} …"),
        )
    told, summary = printing.registered(done)
    if told is not None:
        console.print(told)
    console.print(summary)
    if dry_run:
        console.print("Nothing was changed.")
    if any(each.error for each in done):
        raise typer.Exit(1)
