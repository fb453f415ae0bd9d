"""The file router under Dagster: a dropped file starts a run, which sends its rows and shows what is not sent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_lake import DagsterLake, Ticks
from landing_topics import impression
from router import World, places

from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.router import KEY
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.settings import KafkaSettings, RouterSettings

pytestmark = [pytest.mark.usefixtures("target"), pytest.mark.kafka]


@dataclass
class Routed:
    """A code location that routes a folder to topics of its own."""

    site: DagsterLake
    world: World
    instance: dg.DagsterInstance

    def drop(self, name: str, *numbers: int) -> None:
        (self.world.folder / name).write_bytes(b"".join(impression(number) + b"\n" for number in numbers))

    def run(self, *, check: bool = True) -> Any:
        return self.site.run(self.instance, "route", check=check)

    def checked(self, run: Any) -> tuple[bool, str]:
        (evaluation,) = run.get_asset_check_evaluations()
        return evaluation.passed, evaluation.description


@pytest.fixture
def routed(kafka: KafkaBroker, tmp_path: Path, instance: dg.DagsterInstance) -> Routed:
    world = World(kafka.bootstrap, tmp_path / "outbox", "impressions")
    site = DagsterLake.at(tmp_path, kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap))
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "impressions.yml").write_text(f"topic: {world.topic('impressions')}\n")
    site.settings.landing.sources = sources
    site.settings.router = RouterSettings(folder=str(world.folder), by="runs", progress_topic=f"routed-{world.name}")
    return Routed(site, world, instance)


def test_a_dropped_file_starts_a_run_that_sends_its_rows_once(routed: Routed) -> None:
    tick = Ticks(routed.site, routed.instance, "route_what_was_dropped")
    assert tick().skip_message == "no files yet"
    routed.drop("a.jsonl", 1, 2, 3)
    assert isinstance(tick(), dg.RunRequest)
    assert tick().skip_message == "all 1 files were seen"
    run = routed.run()
    (shown,) = run.asset_materializations_for_node("router__files")
    assert (shown.metadata["files"].value, shown.metadata["rows"].value) == (1, 3)
    assert "| a.jsonl | routed |" in shown.metadata["new"].value
    assert routed.checked(run) == (True, "all rows of all files are sent")

    routed.drop("b.jsonl", 4)
    assert isinstance(tick(), dg.RunRequest)
    again = routed.run()
    (shown,) = again.asset_materializations_for_node("router__files")
    assert (shown.metadata["files"].value, shown.metadata["rows"].value) == (2, 1)
    assert "a.jsonl" not in shown.metadata["new"].value
    seen = places(routed.world.seen("impressions"))
    assert (len(seen), seen.total()) == (4, 4)


def test_what_is_not_sent_fails_the_check_until_it_is_mended(routed: Routed) -> None:
    routed.drop("a.jsonl", 1)
    (routed.world.folder / "b.jsonl.gz").write_bytes(b"\x1f\x8b")
    (routed.world.folder / "large.jsonl").write_bytes(b'{"a": "' + b"x" * (17 << 20) + b'"}\n')
    for _ in range(2):  # a later run knows of them, too
        passed, told = routed.checked(routed.run())
        assert not passed
        broken, large = told.splitlines()
        assert broken.startswith("b.jsonl.gz: broken: ")
        assert large.startswith("large.jsonl: 1 rows are not sent: row 0: ")
    assert len(routed.world.seen("impressions")) == 1, "the others are"
    for name in ("b.jsonl.gz", "large.jsonl"):
        (routed.world.folder / name).unlink()
    assert routed.checked(routed.run())[0]


def test_a_folder_that_is_landed_too_is_refused(routed: Routed) -> None:
    routed.site.settings.drop_folder = str(routed.world.folder)
    routed.drop("a.jsonl", 1)
    run = routed.run(check=False)
    assert not run.success
    assert "would come twice" in str(run.all_events)
    assert not routed.world.seen("impressions")


def test_the_asset_stands_before_the_topics_where_runs_route_and_only_there(routed: Routed) -> None:
    def names() -> tuple[set[str], set[str]]:
        location = routed.site.location().get_repository_def()
        return {each.name for each in location.sensor_defs}, set(location.job_names)

    graph = routed.site.location().resolve_asset_graph()
    assert graph.get(asset_key("bronze.impressions")).parent_keys == {KEY}
    assert graph.get(asset_key("bronze.campaigns")).parent_keys == set(), "it has no topic"
    assert "route_what_was_dropped" in names()[0]
    assert "route" in names()[1]
    routed.site.settings.router.by = "service"
    assert "route_what_was_dropped" not in names()[0]
    assert "route" not in names()[1]
    assert not routed.site.location().resolve_asset_graph().has(KEY)
