"""The command line `ad-lakehouse`: reads arguments, calls the packages, prints.

Not here: anything another program would want to call. Packages are imported by the command that needs them, so
that `--help` answers at once.
"""

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from ad_lakehouse.lake import Lake

app = typer.Typer(
    help="Lakehouse for advertising events.", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
quarantine_app = typer.Typer(help="Rejected rows: list, show, replay after a fix.", no_args_is_help=True)
alerts_app = typer.Typer(help="Alerts: see what is open, send one of each.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(alerts_app, name="alerts")
console = Console(width=None if sys.stdout.isatty() else 160)  # a log or a pipe has no width of its own

LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help=f"Folder or URL of the lake [env {PREFIX}LAKE, default ./lake]", metavar="PATH|URL"),
]
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


def settings_for(lake: str | None) -> Settings:
    """Settings with the lake of the option."""
    return load_settings(lake=lake)


def lake_of(settings: Settings) -> "Lake":
    from ad_lakehouse.lake import Lake

    return Lake(settings.lake, settings.storage_options)


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
    files: Annotated[Path | None, typer.Option(help="Land the files of this folder; no Kafka needed")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated")] = None,
    accept_loss: Annotated[
        bool, typer.Option(help="Go on behind records that expired before they landed; the ledger keeps the gap")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Land what is new on the topics (or, with --files, in a folder), each record exactly once."""
    from ad_lakehouse import printing
    from ad_lakehouse.landing import land_all

    settings = settings_for(lake)
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
    if report.rejected:
        console.print("Rejected rows are kept: ad-lakehouse quarantine list")


@app.command()
def build(
    days: Annotated[str | None, typer.Option(help="Also rebuild 2026-11-01, or 2026-11-01..2026-11-07")] = None,
    select: Annotated[list[str] | None, typer.Option(help="dbt selection, for example +campaign_daily")] = None,
    full_refresh: Annotated[bool, typer.Option(help="Rebuild every day")] = False,
    lake: LakeOption = None,
) -> None:
    """Build the published tables with dbt: the days that changed and those that depend on them, nothing else."""
    from ad_lakehouse import printing
    from ad_lakehouse.dbt_delta.run import build as run_build

    with console.status("Building …") as status:
        report = run_build(
            settings_for(lake),
            select=select,
            full_refresh=full_refresh,
            days=parsed_days(days),
            progress=lambda each: status.update(f"Built {each.name} …"),
        )
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

    found = tables(lake_of(settings_for(lake)))
    console.print(printing.tables(found) if found else "No tables yet. Begin with: ad-lakehouse land --files DIR")


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
    port: Annotated[int, typer.Option(help="Port of the Dagster UI")] = 3000,
    home: HomeOption = DEMO_HOME,
) -> None:
    """Open Dagster on the demo's lake (or on the lake of the environment), with schedules and sensors running."""
    from ad_lakehouse.ui import run_ui

    run_ui(home, port=port, console=console)


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


@alerts_app.command("test")
def alerts_test() -> None:
    """Send a test alert and its end through every configured channel."""
    from ad_lakehouse.alerts.trial import send_test

    trials = send_test(load_settings().alerts)
    for each in trials:
        console.print(f"{each.channel}: {'ok' if each.ok else 'FAILED'}  {each.detail}", markup=False)
    if not trials:
        console.print(
            f"No channel is configured. Set for example {PREFIX}ALERTS__SLACK_WEBHOOK_URL; see docs/alerts.md"
        )
    if not all(each.ok for each in trials):
        raise typer.Exit(1)


@alerts_app.command("list")
def alerts_list(
    closed: Annotated[bool, typer.Option(help="Also those that are over")] = False, lake: LakeOption = None
) -> None:
    """Show open alerts, and messages that could not be delivered."""
    from ad_lakehouse import printing
    from ad_lakehouse.alerts.handling import list_alerts

    found = list_alerts(lake_of(settings_for(lake)), closed=closed)
    console.print(printing.alerts(found) if found else "No alert is open.")


@alerts_app.command("ack")
def alerts_ack(
    key: Annotated[str, typer.Argument(help="Key of the alert, from list")],
    by: Annotated[str, typer.Option(help="Who works on it")],
    lake: LakeOption = None,
) -> None:
    """Say that somebody works on an alert: no escalation by time and no reminders until it gets worse."""
    from ad_lakehouse.alerts.handling import acknowledge

    acknowledge(lake_of(settings_for(lake)), key, by, datetime.now(UTC))
    console.print(f"{key} is acknowledged by {by}.", markup=False)


@alerts_app.command("snooze")
def alerts_snooze(
    key: Annotated[str, typer.Argument(help="Key of the alert, from list")],
    until: Annotated[datetime, typer.Argument(help="UTC, for example 2026-11-24T18:00:00")],
    lake: LakeOption = None,
) -> None:
    """Hold back the messages of an alert until a time; nothing is lost."""
    from ad_lakehouse.alerts.handling import snooze

    snooze(lake_of(settings_for(lake)), key, until.replace(tzinfo=UTC), datetime.now(UTC))
    console.print(f"{key} is silent until {until:%Y-%m-%d %H:%M} UTC.", markup=False)


@alerts_app.command("retry")
def alerts_retry(
    key: Annotated[str | None, typer.Argument(help="Only this alert")] = None, lake: LakeOption = None
) -> None:
    """Queue messages again that a channel refused for good; the next evaluation sends them."""
    from ad_lakehouse.alerts.handling import retry_failed

    console.print(f"{retry_failed(lake_of(settings_for(lake)), key)} messages are queued again.")
