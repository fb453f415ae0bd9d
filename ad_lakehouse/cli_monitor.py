"""`ad-lakehouse monitor`: the stream monitor in the foreground, until it is told to stop.

Belongs here: arguments, signals, what is printed. Not here: the monitor (monitor/).
"""

import logging
import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from ad_lakehouse.cli_options import LakeOption, console, lake_of, settings_for
from ad_lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from ad_lakehouse.monitor.watch import Anomaly


def monitor(
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated")] = None,
    once: Annotated[bool, typer.Option("--once", help="Count and judge what is on the topics now, then end")] = False,
    lake: LakeOption = None,
) -> None:
    """Watch the live topics: traffic, CTR, duplicates, invalid and late records against what is usual.

    Counts go to ops.monitor_windows, anomalies to ops.anomalies and to the alert channels.
    """
    from ad_lakehouse.landing import existing_topics, selected
    from ad_lakehouse.monitor.run import Monitor
    from kafka_sinks.sources import load_sources

    settings = settings_for(lake)
    sources = {
        name: each
        for name, each in selected(load_sources(settings.landing.sources), source).items()
        if each.topic is not None and not each.dimension
    }
    present, absent = existing_topics(sources, settings)
    if absent and source:
        raise absent[0]
    for missing in absent:
        console.print(missing.message, markup=False)
    if not present:
        raise ConfigurationError("No source has a topic on this broker.", remedy="Create one, then start again.")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    watching = Monitor(lake_of(settings), present, settings, told=tell)

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        watching.stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    names = ", ".join(each.name for each in present)
    if once:
        watching.session(until_drained=True)
        console.print(f"{watching.records:,} records of {names} counted.", markup=False)
        return
    console.print(f"Watching {names}, until Ctrl-C.", markup=False)
    watching.run()


def tell(change: "Anomaly") -> None:
    """One line for what begins or ends."""
    console.print(f"{change.title}. {change.text}" if change.ended is None else f"{change.title}: over.", markup=False)
