"""`ad-lakehouse maintain`: care of tables, as Dagster's schedule does it.

Not here: how it is done (maintenance.py).
"""

from typing import Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, no_tables, settings_for


def maintain(
    tables: Annotated[list[str] | None, typer.Argument(help="bronze.impressions …; all published ones if none")] = None,
    compact_only: Annotated[bool, typer.Option("--compact-only", help="Remove nothing: quick, for every hour")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done")] = False,
    lake: LakeOption = None,
) -> None:
    """Put small files together, remove files and log entries that nobody needs any more. No row changes."""
    from ad_lakehouse import printing
    from ad_lakehouse.maintenance import maintain as care

    settings = settings_for(lake)
    if not lake_of(settings).tables():
        console.print(no_tables(settings.lake), markup=False)
        return
    with console.status("Looking at the tables …") as state:
        cared = care(
            lake_of(settings),
            settings.maintenance,
            only=tables,
            remove=not compact_only,
            dry_run=dry_run,
            progress=state.update,
        )
    console.print(printing.cared(cared))
    if dry_run:
        console.print("Nothing was changed.")
    if any(each.failed for each in cared):
        raise typer.Exit(1)
