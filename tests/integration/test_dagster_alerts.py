"""Alerts out of a real Dagster instance: its freshness daemon, its clock moved, a real HTTP server that is told."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alert_receiver import Receiver
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster._time import get_current_datetime
from dagster_lake import DagsterLake, impressions_at

from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.settings import AlertSettings, RouterSettings

pytestmark = pytest.mark.usefixtures("target")
HOUR = timedelta(hours=1)
PATH = "/hook"


class Watch:
    """A code location with its daemon and its alerts sensor, at a time of our choice."""

    def __init__(self, site: DagsterLake, instance: dg.DagsterInstance, workspace: Any, receiver: Receiver) -> None:
        self.site, self.instance, self.workspace, self.receiver = site, instance, workspace, receiver
        self.location = site.location()
        self.cursor: str | None = None
        self.assets = [spec.key for spec in self.location.resolve_all_asset_specs()]

    def told_at(self, moment: datetime) -> list[tuple[str, str]]:
        """What the receiver hears of one round of daemon and sensor: (event, key)."""
        before = len(self.receiver.bodies(PATH))
        with freeze_time(moment):
            list(FreshnessDaemon().run_iteration(self.workspace))
            context = dg.build_sensor_context(
                self.instance, cursor=self.cursor, resources={"settings": self.site.settings}
            )
            self.location.get_repository_def().get_sensor_def("alerts")(context)
            self.cursor = context.cursor
        return [(body["event"], body["key"]) for body in self.receiver.bodies(PATH)[before:]]

    def materialise(self, moment: datetime, *, but: str = "") -> None:
        """Dagster hears that assets were brought up to date."""
        with freeze_time(moment):
            for key in self.assets:
                if key != asset_key(but):
                    self.instance.report_runless_asset_event(dg.AssetMaterialization(key))


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with Receiver() as receiver, dg.instance_for_test() as instance:
        site = DagsterLake.at(tmp_path, alerts=AlertSettings(webhook_url=f"{receiver.url}{PATH}"))
        monkeypatch.setenv("AD_LAKEHOUSE_LAKE", site.settings.lake)
        site.location()
        target = PythonFileTarget(
            python_file=str(Path(__file__).parent / "dagster_project" / "location.py"),
            attribute=None,
            working_directory=None,
            location_name="little",
        )
        with create_test_daemon_workspace_context(target, instance) as workspace:
            yield Watch(site, instance, workspace, receiver)


def test_one_alert_when_events_are_late_none_while_they_stay_so_and_one_when_they_are_back(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.site.drop("one.jsonl", impressions_at(begin, 3))
    watch.site.run(watch.instance, "land", "bronze.impressions", "bronze.bid_requests")  # the second never has events
    watch.materialise(begin)
    assert watch.told_at(begin) == []
    late = begin + 2.5 * HOUR
    watch.materialise(late)
    assert watch.told_at(late) == [("fire", "freshness/impressions")]
    assert watch.told_at(late + timedelta(minutes=1)) == []
    watch.site.drop("two.jsonl", impressions_at(late, 3, first=10))
    with freeze_time(late):
        watch.site.run(watch.instance, "land", "bronze.impressions")
    assert watch.told_at(late + timedelta(minutes=2)) == [("resolve", "freshness/impressions")]
    assert watch.told_at(late + timedelta(minutes=3)) == []


def test_one_alert_when_an_asset_is_not_brought_up_to_date_and_one_for_one_that_never_was(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.materialise(begin, but="bronze.sites")
    assert watch.told_at(begin) == []
    late = begin + 3.5 * HOUR
    watch.materialise(late, but="bronze.sites")
    assert watch.told_at(late) == [("fire", "pipeline/bronze.sites")]
    watch.materialise(late)
    assert watch.told_at(late) == [("resolve", "pipeline/bronze.sites")]
    later = late + 3.5 * HOUR
    watch.materialise(later, but="marts.site_daily")
    assert watch.told_at(later) == [("fire", "pipeline/marts.site_daily")]
    assert watch.told_at(later + timedelta(minutes=1)) == []
    watch.materialise(later + timedelta(minutes=2))
    assert watch.told_at(later + timedelta(minutes=2)) == [("resolve", "pipeline/marts.site_daily")]


def test_a_failed_check_and_a_failed_run_are_told_and_resolved_by_the_next_success(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.site.drop("dear.jsonl", impressions_at(begin, 1, price_micros=9_000_000))
    watch.site.run(watch.instance, "land", "bronze.impressions", "bronze.clicks", "bronze.conversions")
    watch.site.run(watch.instance, "build", check=False)
    watch.materialise(begin)
    assert watch.told_at(begin) == [
        ("fire", "check/marts.site_daily/soda__price_micros__invalid"),
        ("fire", "run/build"),
    ]
    reason = next(body for body in watch.receiver.bodies(PATH) if body["key"] == "run/build")
    assert "prices stay below the ceiling" in reason["text"]
    assert watch.told_at(begin + timedelta(minutes=1)) == []
    watch.site.lift_ceiling()
    watch.site.run(watch.instance, "build")
    assert {event for event, _ in watch.told_at(begin + timedelta(minutes=2))} == {"resolve"}


def test_a_failed_run_of_a_job_that_only_some_lakes_have_is_told(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.site.settings.router = RouterSettings(folder=watch.site.settings.drop_folder, by="runs")  # which is refused
    watch.location = watch.site.location()
    watch.materialise(begin)
    watch.site.run(watch.instance, "route", check=False)
    assert ("fire", "run/route") in watch.told_at(begin)
    reason = next(body for body in watch.receiver.bodies(PATH) if body["key"] == "run/route")
    assert "would come twice" in reason["text"]


def test_a_file_that_no_source_takes_is_told(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.materialise(begin)
    watch.site.drop("impressions.txt", "lost")
    assert watch.told_at(begin) == [("fire", "files/unclaimed")]


@pytest.mark.parametrize("end", [Path.unlink, lambda path: path.write_text("of another writer")], ids=["gone", "anew"])
def test_a_broken_file_is_told_until_it_is_taken_away_or_put_there_anew(
    watch: Watch, end: Callable[[Path], Any]
) -> None:
    begin = get_current_datetime()
    watch.site.drop("cut.avro", "Obj\x01nonsense")
    watch.site.drop("sound.jsonl", impressions_at(begin, 1))
    watch.site.run(watch.instance, "land", "bronze.bid_requests", "bronze.impressions")
    watch.materialise(begin)
    assert watch.told_at(begin) == [("fire", "files/broken")]
    (body,) = watch.receiver.bodies(PATH)
    assert "cut.avro: " in body["text"]
    end(watch.site.folder / "drop" / "cut.avro")
    assert watch.told_at(begin + timedelta(minutes=1)) == [("resolve", "files/broken")]


def test_a_drop_folder_that_cannot_be_looked_at_ends_no_alert_of_its_files(watch: Watch) -> None:
    begin = get_current_datetime()
    watch.site.drop("cut.avro", "Obj\x01nonsense")
    watch.site.run(watch.instance, "land", "bronze.bid_requests")
    watch.materialise(begin)
    assert watch.told_at(begin) == [("fire", "files/broken")]
    drop = watch.site.folder / "drop"
    drop.rename(watch.site.folder / "unmounted")
    assert watch.told_at(begin + timedelta(minutes=1)) == []
