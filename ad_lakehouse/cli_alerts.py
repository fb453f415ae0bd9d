"""`ad-lakehouse alerts …`: what is open, and what people do with it.

Not here: how it is done (alerts/).
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, settings_for
from ad_lakehouse.settings import PREFIX, load_settings

alerts_app = typer.Typer(help="Alerts: see what is open, send one of each.", no_args_is_help=True)


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
