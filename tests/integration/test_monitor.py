"""The monitor beside a real broker: an anomaly is recorded, told once through HTTP, and told as over."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alert_receiver import Receiver
from command_line import cli
from landing_topics import impressions_from, new_topic, wait_until
from monitor_topics import Event, counts, monitor_settings, send

from ad_lakehouse.alerts.stream import from_silent_monitor
from ad_lakehouse.defs.stream import stream_checks
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.maintenance import maintain
from ad_lakehouse.monitor.anomalies import AnomaliesTable, open_anomalies, read
from ad_lakehouse.monitor.run import Monitor
from ad_lakehouse.monitor.table import WINDOWS, last_look
from ad_lakehouse.monitor.watch import Anomaly
from ad_lakehouse.settings import AlertSettings, MaintenanceSettings, Settings
from kafka_sinks.consume import TopicConsumer
from kafka_sinks.sources import load_sources

pytestmark = pytest.mark.kafka
QUICK: dict[str, Any] = {
    "window_seconds": 1, "lateness_seconds": 0.5, "idle_seconds": 1, "commit_seconds": 0.3, "min_history": 60,
}  # fmt: skip


def steady(start: float, seconds: float, a_second: int = 100, **more: Any) -> Iterator[Event]:
    for n in range(round(seconds * a_second)):
        at = start + n / a_second
        yield Event(at, at, f"{start}-{n}", **more)


class Watching:
    """A monitor in a thread."""

    def __init__(self, lake: Lake, settings: Settings, topic: str) -> None:
        self.monitor = Monitor(lake, [impressions_from(topic)], settings)
        self._thread = threading.Thread(target=self.monitor.run)

    def __enter__(self) -> "Watching":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def kinds(lake: Lake) -> list[str]:
    return sorted(each.kind for each in open_anomalies(lake, 1))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(each.body["event"], each.body["key"]) for each in receiver.received if each.method == "POST"]


def with_webhook(settings: Settings, receiver: Receiver) -> Settings:
    alerts = AlertSettings.model_validate({"webhook_url": f"{receiver.url}/hook", "timeout_seconds": 5})
    return settings.model_copy(update={"alerts": alerts})


def looked_five_times(watching: Watching) -> bool:
    return watching.monitor.looks >= 5


class Load:
    """Records sent as time passes, until the block ends."""

    def __init__(self, bootstrap: str, topic: str, make: Callable[[float, float], Iterator[Event]]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, args=(bootstrap, topic, make))

    def _produce(self, bootstrap: str, topic: str, make: Callable[[float, float], Iterator[Event]]) -> None:
        done = time.time()
        while not self._stop.wait(0.2):
            now = time.time()
            send(bootstrap, topic, make(done, now - done))
            done = now

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


def test_a_client_that_hears_nothing_any_more_is_replaced_and_nothing_is_counted_twice(
    kafka: KafkaBroker, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ad_lakehouse.monitor.intake.DEAF_SECONDS", 2.0)
    monkeypatch.setattr("ad_lakehouse.monitor.intake.ASK_SECONDS", 0.5)
    deaf: list[TopicConsumer] = []
    poll = TopicConsumer.poll

    def until_deaf(self: TopicConsumer, at_most: int, wait: float = 0.1) -> Any:
        if self in deaf:
            time.sleep(0.1)
            return [], []
        heard = poll(self, at_most, wait)
        if heard[0] and not deaf:
            deaf.append(self)
        return heard

    monkeypatch.setattr(TopicConsumer, "poll", until_deaf)
    topic = new_topic(kafka.bootstrap)
    begun = time.time() - 60
    with Watching(lake, monitor_settings(kafka.bootstrap, **QUICK), topic):
        send(kafka.bootstrap, topic, steady(begun, 10))
        wait_until(lambda: bool(deaf))
        send(kafka.bootstrap, topic, steady(begun + 10, 10))
        wait_until(lambda: counts(lake).total() >= 2_000, 60)
    assert counts(lake).total() == 2_000


def test_counts_of_long_ago_are_deleted_and_nothing_is_counted_again(kafka: KafkaBroker, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap, "", 2, **{"retention.ms": "-1"})
    now = time.time()
    long_ago = now - 300 * 86_400
    monitor = Monitor(lake, [impressions_from(topic)], monitor_settings(kafka.bootstrap))
    send(kafka.bootstrap, topic, steady(long_ago, 10))
    monitor.session(until_drained=True)
    send(kafka.bootstrap, topic, steady(now - 60, 10))
    monitor.session(until_drained=True)
    assert counts(lake).total() == 2_000
    dry, done, again = (
        next(each for each in maintain(lake, MaintenanceSettings(), dry_run=dry) if each.name == WINDOWS)
        for dry in (True, False, False)
    )
    assert "deleted" in dry.remark
    assert "deleted" in done.remark
    assert not done.failed
    assert not again.remark
    assert counts(lake).total() == 1_000
    monitor.session(until_drained=True)
    assert counts(lake).total() == 1_000


def test_a_stop_is_told_once_within_a_minute_and_as_over_when_traffic_is_back(
    kafka: KafkaBroker, lake: Lake, receiver: Receiver
) -> None:
    topic = new_topic(kafka.bootstrap)
    settings = with_webhook(monitor_settings(kafka.bootstrap, **QUICK), receiver)
    begun = time.time()
    send(kafka.bootstrap, topic, steady(begun - 300, 300))
    with Watching(lake, settings, topic):
        wait_until(lambda: kinds(lake) == ["stop"], 60)
        wait_until(lambda: told(receiver) == [("fire", "stream/impressions/stop")], 20)
        with Load(kafka.bootstrap, topic, steady):
            wait_until(lambda: kinds(lake) == [], 60)
            wait_until(lambda: told(receiver)[1:] == [("resolve", "stream/impressions/stop")], 20)
    (recorded,) = read(lake, 1)
    assert abs(recorded.began - begun) < 3
    assert recorded.noticed - recorded.began < 5
    assert recorded.ended is not None
    assert recorded.ended > recorded.noticed


def test_what_lasts_over_a_restart_is_neither_told_nor_recorded_again(
    kafka: KafkaBroker, lake: Lake, receiver: Receiver
) -> None:
    topic = new_topic(kafka.bootstrap)
    settings = with_webhook(monitor_settings(kafka.bootstrap, **QUICK), receiver)
    send(kafka.bootstrap, topic, steady(time.time() - 300, 300))
    for _ in range(2):
        with Watching(lake, settings, topic) as watching:
            wait_until(lambda: len(told(receiver)) == 1 and kinds(lake) == ["stop"], 60)
            wait_until(partial(looked_five_times, watching), 20)
    assert told(receiver) == [("fire", "stream/impressions/stop")]
    assert len(read(lake, 1)) == 1


def test_many_invalid_and_late_records_are_anomalies_of_their_kind(kafka: KafkaBroker, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    settings = monitor_settings(kafka.bootstrap, **QUICK)
    now = time.time()

    def bad(start: float, seconds: float) -> Iterator[Event]:
        for n, each in enumerate(steady(start, seconds)):
            yield Event(each.at - (100 if n % 5 == 0 else 0), each.sent, each.event_id, n % 7 > 0)

    send(kafka.bootstrap, topic, steady(now - 300, 300))
    with Watching(lake, settings, topic), Load(kafka.bootstrap, topic, bad):
        wait_until(lambda: {"invalid", "late"} <= set(kinds(lake)), 60)
    assert counts(lake, "late").total() > 20
    assert counts(lake, "invalid").total() > 20


def test_late_events_are_counted_in_their_own_window_too(kafka: KafkaBroker, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    start = time.time() // 10 * 10 - 600
    events = [Event(start + n, start + n, f"a{n}") for n in range(120)]
    late = [Event(start + 25, start + 120, f"b{n}") for n in range(8)]
    send(kafka.bootstrap, topic, [*events, *late])
    Monitor(lake, [impressions_from(topic)], monitor_settings(kafka.bootstrap)).session(until_drained=True)
    assert counts(lake)[int(start) + 20] == 10 + 8
    assert counts(lake, "late") == {int(start) + 110: 8}


def test_an_event_of_the_future_does_not_close_todays_windows(kafka: KafkaBroker, lake: Lake) -> None:
    topic = new_topic(kafka.bootstrap)
    start = time.time() // 10 * 10 - 600
    events = [Event(start + n + (40_000 if n == 5 else 0), start + n, f"a{n}") for n in range(60)]
    send(kafka.bootstrap, topic, events, partitions=1)
    Monitor(lake, [impressions_from(topic)], monitor_settings(kafka.bootstrap)).session(until_drained=True)
    assert counts(lake, "late").total() == 0
    assert counts(lake, "arrived")[int(start)] == 10


def test_a_monitor_that_stopped_is_told_and_one_that_never_ran_is_not(kafka: KafkaBroker, lake: Lake) -> None:
    assert from_silent_monitor(last_look(lake), datetime.now(UTC)) == []
    topic = new_topic(kafka.bootstrap)
    send(kafka.bootstrap, topic, steady(time.time() - 10, 5))
    Monitor(lake, [impressions_from(topic)], monitor_settings(kafka.bootstrap)).session(until_drained=True)
    last, now = last_look(lake), datetime.now(UTC)
    assert last is not None
    assert now - last < timedelta(minutes=1)
    assert from_silent_monitor(last, now) == []
    assert [each.key for each in from_silent_monitor(last, now + timedelta(minutes=10))] == ["monitor/silent"]
    assert from_silent_monitor(last, now + timedelta(days=8)) == []


def test_an_anomaly_that_lasts_fails_the_check_of_its_table_alone(lake: Lake) -> None:
    check = stream_checks(load_sources().values())

    def outcome() -> dict[str, bool]:
        job = dg.define_asset_job("checks", dg.AssetSelection.checks(check))
        resources = {"settings": Settings(lake=lake.root)}
        result = dg.Definitions(asset_checks=[check], jobs=[job], resources=resources).resolve_job_def("checks")
        found = result.execute_in_process().get_asset_check_evaluations()
        assert len(found) == 4
        return {each.asset_key.path[-1]: each.passed for each in found}

    assert all(outcome().values())
    table, now = AnomaliesTable(lake, 10), datetime.now(UTC)
    stopped = Anomaly("clicks", "stop", 100, 101, None, 0.0, 50.0, 30.0, 70.0)
    table.add([stopped], now)
    assert [name for name, passed in outcome().items() if not passed] == ["clicks"]
    table.add([replace(stopped, ended=110)], now)
    assert all(outcome().values())


def test_the_command_counts_what_is_there_and_ends(kafka: KafkaBroker, lake: Lake, tmp_path: Path) -> None:
    topic, sources = new_topic(kafka.bootstrap), tmp_path / "sources"
    sources.mkdir()
    (sources / "impressions.yml").write_text(f"topic: {topic}\n")
    send(kafka.bootstrap, topic, steady(time.time() - 60, 5))
    where = {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "LANDING__SOURCES": str(sources), "LAKE": lake.root}
    for _ in range(2):
        done = cli(tmp_path, "monitor", "--once", "--source", "impressions", **where)
        assert done.returncode == 0, done.stderr
        assert "records of impressions counted" in done.stdout
        assert counts(lake).total() == 500
