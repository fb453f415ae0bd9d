"""`ad-lakehouse connect …`: our connectors on Kafka Connect.

Not here: how it is done (connect/).
"""

from typing import Annotated

import typer
from rich.markup import escape

from ad_lakehouse.cli_options import console
from ad_lakehouse.settings import load_settings

connect_app = typer.Typer(
    help="Kafka Connect: bring our connectors to its workers, see how they are.", no_args_is_help=True
)


@connect_app.command("apply")
def connect_apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what differs and change nothing")] = False,
    restart: Annotated[bool, typer.Option("--restart-failed", help="Also start again what has failed")] = False,
    only: Annotated[list[str] | None, typer.Option("--connector", help="Only this one; may be repeated")] = None,
) -> None:
    """Bring each connector to what its file says: shows every field that differs, then changes them.

    What the worker has and no file says is left alone. With --dry-run exits with 1 when something differs.
    """
    from ad_lakehouse.connect.apply import change, plan
    from ad_lakehouse.connect.connectors import load_connectors
    from ad_lakehouse.connect.rest import ConnectApi
    from ad_lakehouse.connect.states import connector_states, restart_failed

    settings = load_settings().connect
    connectors = load_connectors(settings.connectors)
    for name in only or ():
        if name not in [each.name for each in connectors]:
            raise typer.BadParameter(f"--connector {name}: {settings.connectors} has no {name}.json")
    api = ConnectApi(settings)
    planned = plan(api, [each for each in connectors if only is None or each.name in only])
    due = [each for each in planned if each.differences]
    for each in due:
        console.print(f"{each.connector.name}: {'new' if each.is_new else 'changes'}", markup=False)
        for line in each.differences:
            console.print(f"  {line}", markup=False, soft_wrap=True)
    if dry_run and due:
        console.print("Nothing was changed. To do it: ad-lakehouse connect apply")
        raise typer.Exit(1)
    for each in due:
        change(api, each)
        console.print(f"{each.connector.name}: {'created' if each.is_new else 'changed'}", markup=False)
    same = {each.connector.name for each in planned if not each.differences}  # a changed one starts anew by itself
    failed = [each for each in connector_states(api) if each.name in same and each.failed]
    for name in restart_failed(api, failed) if restart and not dry_run else []:
        console.print(f"{name}: what had failed is started again", markup=False)
    if not due and not (restart and failed):
        console.print(f"{len(planned)} connector{'s are' if len(planned) != 1 else ' is'} as wanted: nothing to do.")
        if failed:
            console.print("Something has failed, see: ad-lakehouse connect status")


@connect_app.command("status")
def connect_status() -> None:
    """Show each connector and its tasks. Exits with 44 when one has failed, 45 when no worker answers."""
    from ad_lakehouse.connect.rest import ConnectApi
    from ad_lakehouse.connect.states import connector_states, raise_if_failed
    from ad_lakehouse.printing import table

    states = connector_states(ConnectApi(load_settings().connect))
    if not states:
        console.print("No connectors. Begin with: ad-lakehouse connect apply")
    made = table("connector", "part", "state", "worker", "reason")
    for state in states:
        for part in state.parts:
            named = "connector" if part.task is None else f"task {part.task}"
            bad = f"[bold red]{part.state}[/]" if part in state.failed else part.state
            made.add_row(escape(state.name), named, bad, part.worker, escape(part.reason))
    if states:
        console.print(made)
    raise_if_failed(states)


@connect_app.command("remove")
def connect_remove(name: Annotated[str, typer.Argument(help="Name of the connector, from status")]) -> None:
    """Take a connector off the workers. Its position stays: applied again, it goes on where it was."""
    from ad_lakehouse.connect.apply import remove
    from ad_lakehouse.connect.rest import ConnectApi

    done = remove(ConnectApi(load_settings().connect), name)
    console.print(f"{name}: removed" if done else f"{name} is not there: nothing to do.", markup=False)
