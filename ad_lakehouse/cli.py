"""The command line `ad-lakehouse`: reads arguments, calls the packages, prints.

Not here: anything another program would want to call. Packages are imported by the command that needs them, so
that `--help` answers at once.
"""

import os
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ad_lakehouse.cli_alerts import alerts_app
from ad_lakehouse.cli_connect import connect_app
from ad_lakehouse.cli_maintain import maintain
from ad_lakehouse.cli_monitor import monitor
from ad_lakehouse.cli_options import Engine, LakeOption, TargetOption, console, lake_of, no_tables, settings_for
from ad_lakehouse.cli_quarantine import quarantine_app
from ad_lakehouse.cli_register import register
from ad_lakehouse.cli_route import route
from ad_lakehouse.cli_schemas import schemas_app
from ad_lakehouse.errors import LakehouseError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(alerts_app, name="alerts")
app.add_typer(schemas_app, name="schemas")
app.add_typer(connect_app, name="connect")
app.command()(maintain)
app.command()(register)
app.command()(route)
app.command()(monitor)

HomeOption = Annotated[Path, typer.Option(help="Folder of the demo: its lake, files and broker")]
DEMO_HOME = Path(".demo")


def main() -> None:
    """Entry point: errors made for people are printed in two lines and set the exit code."""
    for variable, value in {"DAGSTER_DISABLE_TELEMETRY": "1", "SODA_CORE_TELEMETRY_ENABLED": "false"}.items():
        os.environ.setdefault(variable, value)
    try:
        app()
    except LakehouseError as error:
        typer.secho(error.message, fg="red", bold=True, err=True)
        if error.remedy:
            typer.echo(error.remedy, err=True)
        sys.exit(error.exit_code)


def tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.print(f"ad-lakehouse {version('ad-lakehouse')}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Say the version and end")
    ] = False,
) -> None:
    """Lakehouse for advertising events."""


@app.command()
def init(lake: LakeOption = None) -> None:
    """Create the bronze table of each source, empty. Landing does it too."""
    from ad_lakehouse.landing import create_tables
    from kafka_sinks.sources import load_sources

    settings = settings_for(lake)
    sources = load_sources(settings.landing.sources)
    create_tables(lake_of(settings), sources)
    console.print(f"{len(sources)} bronze tables are in {settings.lake}.")


@app.command()
def land(
    files: Annotated[
        str | None, typer.Option(help="Land the files of this folder; no Kafka needed", metavar="PATH|URL")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated")] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(help="Go on behind what expired before it landed, or a restore took away; the ledger tells"),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Do not stop: land the topics as records come")] = False,
    max_age: Annotated[
        float | None,
        typer.Option(help="With --follow: commit what has come after so many seconds, default 30", min=0.1),
    ] = None,
    port: Annotated[
        int, typer.Option(help="With --follow: port of /health and /metrics; 0 takes a free one", min=0, max=65_535)
    ] = 9464,
    host: Annotated[
        str, typer.Option(help="With --follow: address of that port; 0.0.0.0 in a container")
    ] = "127.0.0.1",
    lake: LakeOption = None,
) -> None:
    """Land what is new on the topics (or, with --files, in a folder), each record exactly once.

    With --follow any number of processes on any machines share the partitions of the topics as a consumer group.
    """
    from ad_lakehouse import printing
    from ad_lakehouse.landing import land_all
    from kafka_sinks.memory import give_freed_memory_back

    settings = settings_for(lake)
    if follow:
        if files is not None or accept_loss:
            raise typer.BadParameter(
                "--follow lands topics, and stops at a loss; it takes neither --files nor --accept-loss"
            )
        from ad_lakehouse.cli_follow import follow as follow_topics

        if max_age is not None:
            settings.landing.max_age_seconds = max_age
        follow_topics(settings, source, host, port)
        return
    give_freed_memory_back()
    with console.status("Landing …") as status:
        report = land_all(
            lake_of(settings),
            settings,
            folder=files or settings.drop_folder,
            topics=files is None,
            only=source,
            accept_loss=accept_loss,
            settle_seconds=None if files is None else 0.0,
            on_topic=lambda each: status.update(f"Landing {each.topic}: {each.records:,} records …"),
            on_file=lambda each: status.update(f"Landed {each.path} …"),
        )
    console.print(printing.landed(report))
    for each in report.absent:
        console.print(each, markup=False)
    if report.errors:
        raise report.errors[0]
    if any(file.outcome in {"broken", "changed while read"} for file in report.files):
        raise typer.Exit(1)
    if report.rejected:
        console.print("Rejected rows are kept: ad-lakehouse quarantine list")


@app.command()
def build(
    days: Annotated[str | None, typer.Option(help="Also rebuild 2026-11-01, or 2026-11-01..2026-11-07")] = None,
    select: Annotated[list[str] | None, typer.Option(help="dbt selection, for example +campaign_daily")] = None,
    full_refresh: Annotated[bool, typer.Option(help="Rebuild every day")] = False,
    target: TargetOption = None,
    lake: LakeOption = None,
) -> None:
    """Build the published tables with dbt: the days that changed and those that depend on them, nothing else."""
    from ad_lakehouse import printing
    from ad_lakehouse.dbt_delta.run import build as run_build

    with console.status("Building …") as status:
        report = run_build(
            settings_for(lake),
            target=target,
            select=select,
            full_refresh=full_refresh,
            days=parsed_days(days),
            progress=lambda each: status.update(f"Built {each.name} …"),
        )
    if select and not report.results:
        raise typer.BadParameter(f"--select {' '.join(select)}: no model is called so; ad-lakehouse plan lists them")
    console.print(printing.built(report))
    report.raise_if_failed()


def parsed_days(text: str | None) -> tuple[date, date] | None:
    """First and last day of `2026-11-01` or `2026-11-01..2026-11-07`."""
    if text is None:
        return None
    first, _, last = text.partition("..")
    try:
        span = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a day nor first..last, for example 2026-11-01..2026-11-07"
        ) from None
    if span[0] > span[1]:
        raise typer.BadParameter(f"{first} is after {last}")
    return span


@app.command()
def plan(lake: LakeOption = None) -> None:
    """Say which days of which table a build would rebuild, and why. Builds nothing."""
    from ad_lakehouse import printing
    from ad_lakehouse.dbt_delta.run import plan as run_plan

    with console.status("Planning …"):
        plans = run_plan(settings_for(lake))
    console.print(printing.planned(plans))


@app.command()
def handover(
    to: Annotated[Engine, typer.Option(help="The engine that writes from now on")],
    tables: Annotated[list[str] | None, typer.Argument(help="silver.impressions …; all built tables if none")] = None,
    lake: LakeOption = None,
) -> None:
    """Make one engine the only writer of built tables, as an object store needs. For when no build runs."""
    from ad_lakehouse.lake import TableName
    from ad_lakehouse.lake.writer import hand_over

    where = lake_of(settings_for(lake))
    built = [name for name in where.tables() if name.layer in ("silver", "attribution", "marts")]
    wanted = [TableName.parse(each) for each in tables] if tables else built
    for absent in [each for each in wanted if each not in built]:
        raise typer.BadParameter(f"{absent} is no built table of this lake; ad-lakehouse status lists them")
    for name in wanted:
        changed = hand_over(where, name, to.value)
        console.print(f"{name}: {'now' if changed else 'already'} written by {to.value} alone", markup=False)


@app.command()
def check(
    every: Annotated[bool, typer.Option("--all", help="Show the checks that pass, too")] = False,
    lake: LakeOption = None,
) -> None:
    """Run every contract and the ledger on the published tables; exit with 1 when one fails."""
    from ad_lakehouse import printing
    from ad_lakehouse.quality.checkup import check_lake

    settings = settings_for(lake)
    with console.status("Checking …") as state:
        found = check_lake(lake_of(settings), settings.contracts, lambda name: state.update(f"Checking {name} …"))
    failed = [each for each in found if not each.outcome.passed]
    if found if every else failed:
        console.print(printing.checks(found if every else failed))
    errors = sum(each.outcome.severity == "error" for each in failed)
    console.print(f"{len(found)} checks: {len(found) - len(failed)} pass, {len(failed) - errors} warn, {errors} fail.")
    if errors:
        raise typer.Exit(1)


@app.command()
def status(lake: LakeOption = None) -> None:
    """Show what each table holds: rows, days, rejected rows, size, last commit."""
    from ad_lakehouse import printing
    from ad_lakehouse.status import status as tables

    settings = settings_for(lake)
    found = tables(lake_of(settings))
    console.print(printing.tables(found) if found else no_tables(settings.lake), markup=False)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One query; without it a prompt opens")] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json (one object a line)")] = "table",
    dev: Annotated[str | None, typer.Option(help="Read this developer's tables where they exist")] = None,
    lake: LakeOption = None,
) -> None:
    """Query the whole lake with SQL: every table as layer.table, rejected rows as quarantine."""
    from ad_lakehouse.prompt import Format, open_lake, prompt, run_query

    if form not in list(Format):
        raise typer.BadParameter(f"--format {form}: say table, csv or json")
    where = lake_of(settings_for(lake))
    if query is None:
        prompt(where, dev)
    else:
        run_query(open_lake(where, dev), query, Format(form))


@app.command()
def demo(
    impressions: Annotated[int, typer.Option(help="How many impressions to generate", min=1000)] = 300_000,
    days: Annotated[int, typer.Option(help="Over how many days", min=2, max=60)] = 14,
    seed: Annotated[int, typer.Option(help="Same seed, same events")] = 7,
    files_only: Annotated[bool, typer.Option(help="Without Kafka")] = False,
    home: HomeOption = DEMO_HOME,
) -> None:
    """Run the whole way on generated events with known truth, and show what came out."""
    from ad_lakehouse.demo.run import run_demo

    run_demo(home, impressions=impressions, days=days, seed=seed, files_only=files_only, console=console)


@app.command()
def live(
    rate: Annotated[float, typer.Option(help="Events a second", min=0.1)] = 50,
    seconds: Annotated[float | None, typer.Option(help="Stop after this time")] = None,
    home: HomeOption = DEMO_HOME,
) -> None:
    """Keep producing events to the demo's broker until Ctrl-C, so that the UI shows data move."""
    from ad_lakehouse.demo.run import run_live

    run_live(home, rate=rate, seconds=seconds, console=console)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI", min=1, max=65_535)] = 3000,
    home: HomeOption = DEMO_HOME,
) -> None:
    """Open Dagster on the demo's lake (or on the lake of the environment), with schedules and sensors running."""
    from ad_lakehouse.ui import run_ui

    run_ui(home, port=port, console=console)
