"""The command line `ad-lakehouse`: reads arguments, calls the packages, prints.

Not here: anything another program would want to call.
"""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.prompt import Format
from ad_lakehouse.settings import PREFIX, Settings, load_settings

app = typer.Typer(
    help="Lakehouse for advertising events.", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
quarantine_app = typer.Typer(help="Rejected rows: list, show, replay after a fix.", no_args_is_help=True)
alerts_app = typer.Typer(help="Alerts: send one of each, list what is active.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(alerts_app, name="alerts")
console = Console()

LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help=f"Folder or URL of the lake [env {PREFIX}LAKE, default ./lake]", metavar="PATH|URL"),
]


def main() -> None:
    """Entry point: our own errors are printed in two lines and set the exit code."""
    for variable, value in {"DAGSTER_DISABLE_TELEMETRY": "1", "SODA_CORE_TELEMETRY_ENABLED": "false"}.items():
        os.environ.setdefault(variable, value)
    try:
        app()
    except LakehouseError as error:
        Console(stderr=True).print(f"[bold red]{error.message}[/]\n{error.remedy}".strip(), highlight=False)
        sys.exit(error.exit_code)


def settings_for(lake: str | None) -> Settings:
    """Settings with the lake of the option; also for the child packages that read the environment (dbt's plugin)."""
    if lake is not None:
        os.environ[f"{PREFIX}LAKE"] = lake
    return load_settings()


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake, settings.storage_options)


@app.command()
def status(lake: LakeOption = None) -> None:
    """What each table holds: rows, days, rejected rows, size, last commit."""
    from rich.filesize import decimal
    from rich.table import Table

    from ad_lakehouse.status import status as tables

    table = Table(
        "table", "version", "rows", "rejected", "days", "files", "size", "last commit (UTC)", header_style="bold"
    )
    found = tables(lake_of(settings_for(lake)))
    for each in found:
        days = f"{each.first_day} … {each.last_day}" if each.first_day else ""
        table.add_row(
            str(each.name),
            str(each.version),
            f"{each.rows:,}",
            f"{each.rejected:,}" if each.rejected else "",
            days,
            str(each.files),
            decimal(each.size),
            f"{each.committed:%Y-%m-%d %H:%M:%S}",
        )
    console.print(table if found else "No tables yet. Land something: ad-lakehouse land --files DIR")


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One query; without it a prompt opens")] = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are printed")] = Format.TABLE,
    dev: Annotated[str | None, typer.Option(help="Read this developer's tables where they exist")] = None,
    lake: LakeOption = None,
) -> None:
    """SQL over the whole lake: every table as layer.table, rejected rows as quarantine."""
    from ad_lakehouse.prompt import open_lake, prompt, run_query

    where = lake_of(settings_for(lake))
    if query is None:
        prompt(where, dev)
    else:
        run_query(open_lake(where, dev), query, form)
