"""The demo from end to end: broker, events, landing, build, checks, summary; and its live traffic.

Belongs here: the order of the steps and how long each took. Not here: the steps, the summary (summary.py).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from ad_lakehouse import printing
from ad_lakehouse.alerts import evaluate
from ad_lakehouse.alerts.conditions import from_freshness
from ad_lakehouse.dbt_delta.run import build
from ad_lakehouse.demo import summary
from ad_lakehouse.demo.artefacts import KAFKA_VERSION, KafkaUnavailable
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import generate
from ad_lakehouse.demo.home import PORT, DemoHome
from ad_lakehouse.demo.open_bandit import OpenBanditUnavailable, Replay, replay_open_bandit
from ad_lakehouse.demo.publish import Published, publish, published_before
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.landing import LandedAll, land_all
from ad_lakehouse.quality.checkup import Checked, check_lake
from ad_lakehouse.quality.freshness import FreshnessState, freshness, load_windows, newest_events
from ad_lakehouse.settings import Settings, load_settings

Result = TypeVar("Result")


@dataclass
class Steps:
    """Runs steps one after the other with a line each, and remembers (name, seconds, records)."""

    console: Console
    taken: list[tuple[str, float, int]] = field(default_factory=list)

    def run(
        self, name: str, step: Callable[[Callable[[str], None]], Result], records: Callable[[Result], int]
    ) -> Result:
        """`step` is given a function that shows what it is doing now."""
        begun = time.monotonic()
        with self.console.status(f"{name} …") as shown:
            result = step(lambda text: shown.update(f"{name}: {text}"))
        seconds = time.monotonic() - begun
        self.taken.append((name, seconds, records(result)))
        self.console.print(f"[green]✓[/] {name} [dim]{seconds:.1f} s[/]")
        return result


@contextmanager
def broker_of(home: DemoHome, console: Console) -> Iterator[str]:
    """Address of the demo's broker: the one another terminal runs, else one that lives as long as this context.

    Raises `KafkaUnavailable`.
    """
    running = home.running_broker()
    if running:
        yield running
        return
    with console.status(f"Starting Apache Kafka {KAFKA_VERSION} …") as shown:
        broker = KafkaBroker(home.broker, port=PORT, say=shown.update).start()
    try:
        home.remember_broker(broker.bootstrap)
        yield broker.bootstrap
    finally:
        broker.stop()


def run_demo(home: Path, *, impressions: int, days: int, seed: int, files_only: bool, console: Console) -> None:
    """Publishes the demo's events once, then lands, builds, checks and says what came out."""
    demo = DemoHome(home)
    config = GeneratorConfig(end=datetime.now(UTC), impressions=impressions, days=days, seed=seed)
    context = nullcontext(None) if files_only else broker_of(demo, console)
    try:
        with context as bootstrap:
            if bootstrap:
                console.print(f"[green]✓[/] Apache Kafka {KAFKA_VERSION} at {bootstrap}")
            whole_way(demo, config, bootstrap, console)
    except KafkaUnavailable as error:
        console.print(f"{error.message} Going on with file drops only.", markup=False)
        whole_way(demo, config, None, console)


def whole_way(demo: DemoHome, config: GeneratorConfig, bootstrap: str | None, console: Console) -> None:
    """Everything behind the broker."""
    demo.use(bootstrap)
    settings = load_settings()
    lake = Lake(settings.lake, settings.storage_options)
    steps = Steps(console)
    published = publish_once(demo, config, bootstrap, steps)
    landed = steps.run(
        "Land topics and files", lambda say: land(lake, settings, bootstrap, say), lambda each: each.records
    )
    built = steps.run(
        "Build silver, attribution and marts",
        lambda say: build(settings, tests=True, progress=lambda each: say(each.name)),
        lambda report: sum(int(each.figures.get("rows", 0) or 0) for each in report.results),
    )
    if built.failed:
        console.print(printing.built(built))
    built.raise_if_failed()
    checked: list[Checked] = steps.run(
        "Run every check", lambda say: check_lake(lake, progress=lambda name: say(str(name))), len
    )
    fresh = steps.run("Look for late data, alert", lambda _: alert_when_late(lake, settings, datetime.now(UTC)), len)
    if not summary.show(console, demo, lake, published, landed, built, checked, fresh, steps.taken):
        raise LakehouseError(
            "Some figures are not equal to the known truth: they are marked with ✗ above.",
            remedy=f"Remove {demo.folder} and run the demo again; if it stays so, it is a fault of this product.",
        )


def alert_when_late(lake: Lake, settings: Settings, now: datetime) -> list[FreshnessState]:
    """Compares newest event times with their windows; a late source alerts through the configured channels."""
    windows = load_windows(settings.freshness)
    states = freshness(newest_events(lake, windows, now), windows, now)
    evaluate(lake, from_freshness(states, now), settings.alerts, now, scope={"freshness"})
    return states


def publish_once(demo: DemoHome, config: GeneratorConfig, bootstrap: str | None, steps: Steps) -> Published:
    """Publishes what an earlier run has not."""
    before = published_before(config, bootstrap, demo)
    if before is not None:
        steps.console.print("[green]✓[/] The events were published by an earlier run; nothing is sent again")
        return before
    generated = steps.run(
        "Generate events with known truth",
        lambda _: generate(config),
        lambda made: sum(len(each.stream.payloads) for each in made.delivered.values()),
    )
    replay: Replay | None = None
    try:
        replay = steps.run(
            "Read 60,000 real impressions (Open Bandit Dataset)",
            lambda say: replay_open_bandit(config.end, say),
            lambda made: len(made.impressions.payloads) + len(made.clicks),
        )
    except OpenBanditUnavailable as error:
        steps.console.print(error.message, markup=False)
    where = "topics and files" if bootstrap else "files"
    return steps.run(
        f"Publish to {where}",
        lambda say: publish(generated, bootstrap, demo, replay=replay, say=say),
        lambda done: done.records,
    )


def land(lake: Lake, settings: Settings, bootstrap: str | None, say: Callable[[str], None]) -> LandedAll:
    landed = land_all(
        lake,
        settings,
        folder=settings.drop_folder,
        topics=bootstrap is not None,
        settle_seconds=0.0,  # they were published before, whole
        on_topic=lambda each: say(f"{each.topic}, {each.records:,} records"),
        on_file=lambda each: say(each.path),
    )
    if landed.errors:
        raise landed.errors[0]
    return landed


def run_live(home: Path, *, rate: float, seconds: float | None, console: Console) -> None:
    """Produces fresh events until Ctrl-C or for `seconds`."""
    from ad_lakehouse.demo.live import live

    demo = DemoHome(home)
    with broker_of(demo, console) as bootstrap:
        demo.use(bootstrap)
        console.print(f"{rate:g} events a second to {bootstrap}. Ctrl-C ends it.")
        sent = live(load_settings(), rate, seconds)
        console.print(f"{sent} events sent.")
