"""Kafka Connect, a real distributed worker on docker/connect/worker.properties, and a real broker.

No Spark: of what the other tests of this folder need, these need only Java.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import dagster as dg
import pytest
from alert_receiver import Receiver
from command_line import cli, cli_here
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from connect_worker import ConnectMissing, ConnectWorker
from dagster_lake import DagsterLake
from landing_topics import impression, new_topic, wait_until

from ad_lakehouse.connect.connectors import load_connector
from ad_lakehouse.demo.broker import KafkaBroker, free_ports
from ad_lakehouse.settings import AlertSettings

SHIPPED = Path(__file__).parents[2] / "docker" / "connect" / "connectors" / "impressions.json"
SECRET = "hunter2"  # noqa: S105 no secret of anybody


@pytest.fixture(scope="module")
def source_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shipped connector reads: the worker's environment names it."""
    return tmp_path_factory.mktemp("source") / "impressions.jsonl"


@pytest.fixture(scope="module")
def worker(kafka: KafkaBroker, source_file: Path, unavailable: Callable[[str], None]) -> Iterator[ConnectWorker]:
    environment = {"CONNECT_IMPRESSIONS_FILE": str(source_file), "A_PASSWORD": SECRET}
    try:
        made = ConnectWorker(kafka.bootstrap, "connect-lake", environment)
    except ConnectMissing as error:
        unavailable(str(error))
        return
    try:
        yield made.start()
    finally:
        made.close()


class Place:
    """A folder of connector files and the command line on it."""

    def __init__(self, folder: Path, worker: ConnectWorker) -> None:
        self.folder, self.worker = folder, worker

    def put(self, name: str, **fields: Any) -> Path:
        """The shipped connector under another name, with other fields."""
        config = {**load_connector(SHIPPED).config, **fields}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, "config": config}))
        return path

    def run(self, *arguments: str) -> CompletedProcess[str]:
        where = {"CONNECT__URL": self.worker.url, "CONNECT__CONNECTORS": str(self.folder)}
        return cli_here("connect", *arguments, **where)

    def apply(self) -> None:
        """Applies, and it works."""
        done = self.run("apply")
        assert done.returncode == 0, done.stderr

    def failed(self, name: str) -> bool:
        """Whether a task of the connector has failed."""
        found = self.worker.get("/connectors?expand=status").get(name)
        return found is not None and any(each["state"] == "FAILED" for each in found["status"]["tasks"])


@pytest.fixture
def place(tmp_path: Path, worker: ConnectWorker) -> Iterator[Place]:
    folder = tmp_path / "connectors"
    folder.mkdir()
    made = Place(folder, worker)
    yield made
    for path in folder.glob("*.json"):
        made.run("remove", path.stem)


class Committed:
    """An independent consumer of a topic with one partition, that sees committed records only."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": topic, "isolation.level": "read_committed"}
        )
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        self.values: list[bytes] = []

    def read(self, until: int, seconds: float = 60.0) -> list[bytes]:
        """Everything so far, when there are at least so many."""
        deadline = time.monotonic() + seconds
        while len(self.values) < until and time.monotonic() < deadline:
            self.more(0.1)
        return self.values

    def more(self, seconds: float) -> None:
        """Adds what comes in this time."""
        for message in self._consumer.consume(1000, seconds):
            assert message.error() is None
            self.values.append(message.value())

    def all_of(self, expected: list[bytes]) -> bool:
        """Whether exactly these were written: waits for them, and then whether more come."""
        self.read(len(expected))
        self.more(1.0)
        return self.values == expected


def lines(count: int, first: int = 0) -> list[bytes]:
    return [impression(number, event_id=f"i{number}") for number in range(first, first + count)]


def write(path: Path, content: list[bytes], mode: str = "wb") -> None:
    with path.open(mode) as file:
        file.writelines(line + b"\n" for line in content)


def test_the_shipped_connector_brings_a_file_into_the_topic_once_and_it_lands(
    kafka: KafkaBroker, worker: ConnectWorker, source_file: Path, tmp_path: Path
) -> None:
    topic = new_topic(kafka.bootstrap, "ad.impressions", 1)
    sent = lines(3000)
    write(source_file, sent)
    where = {"CONNECT__URL": worker.url, "CONNECT__CONNECTORS": str(SHIPPED.parent)}
    applied = cli(tmp_path, "connect", "apply", **where)
    assert applied.returncode == 0, applied.stderr
    assert "impressions: new\n" in applied.stdout
    assert "+ file: ${env:CONNECT_IMPRESSIONS_FILE}\n" in applied.stdout
    assert "impressions: created\n" in applied.stdout
    arrived = Committed(kafka.bootstrap, topic)
    assert arrived.all_of(sent)
    again = cli(tmp_path, "connect", "apply", **where)
    assert (again.returncode, again.stdout) == (0, "1 connector is as wanted: nothing to do.\n")

    here = {"LAKE": str(tmp_path / "lake"), "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap}
    landed = cli(tmp_path, "land", "--source", "impressions", **here)
    assert landed.returncode == 0, landed.stderr
    query = "select count(*) as n, count(distinct event_id) as ids from bronze.impressions"
    counted = cli_here("sql", query, "--format", "json", LAKE=here["LAKE"])
    assert json.loads(counted.stdout) == {"n": 3000, "ids": 3000}

    removed = cli_here("connect", "remove", "impressions", **where)
    assert removed.stdout == "impressions: removed\n"
    assert worker.get("/connectors") == []
    again = cli_here("connect", "remove", "impressions", **where)
    assert (again.returncode, again.stdout) == (0, "impressions is not there: nothing to do.\n")
    more = lines(500, first=3000)
    write(source_file, more, "ab")
    assert cli_here("connect", "apply", **where).returncode == 0
    assert arrived.all_of(sent + more)  # it went on where it was
    cli_here("connect", "remove", "impressions", **where)


def test_what_differs_is_shown_before_it_is_changed_and_no_secret_with_it(place: Place, kafka: KafkaBroker) -> None:
    topic = new_topic(kafka.bootstrap, partitions=1)
    place.put("one", topic=topic)
    place.apply()
    place.put("one", **{"topic": topic, "batch.size": 7, "a.password": SECRET, "b.password": "${env:A_PASSWORD}"})
    before = place.worker.get("/connectors/one/config")
    foretold = place.run("apply", "--dry-run")
    assert foretold.returncode == 1
    assert foretold.stdout == (
        "one: changes\n"
        "  + a.password: (hidden)\n"
        "  + b.password: ${env:A_PASSWORD}\n"
        "  ~ batch.size: 50000 → 7\n"
        "Nothing was changed. To do it: ad-lakehouse connect apply\n"
    )
    assert place.worker.get("/connectors/one/config") == before
    changed = place.run("apply")
    assert (changed.returncode, changed.stdout.splitlines()[-1]) == (0, "one: changed")
    assert SECRET not in changed.stdout
    assert place.worker.get("/connectors/one/config")["batch.size"] == "7"
    assert place.run("apply", "--dry-run").returncode == 0


def test_what_the_worker_refuses_is_told_with_file_and_field_and_nothing_is_changed(place: Place) -> None:
    place.put("a")
    wrong = place.put("b", **{"batch.size": "many"})
    refused = place.run("apply")
    assert refused.returncode == 2
    assert f"{wrong}: config.batch.size is refused by the worker: Invalid value many" in refused.stderr
    place.put("b", **{"batch.size": "${env:A_PASSWORD}"})
    refused = place.run("apply")
    assert (refused.returncode, SECRET in refused.stderr) == (2, False)
    assert f"{wrong}: config.batch.size is refused by the worker: its value is not allowed" in refused.stderr
    place.put("b", **{"connector.class": "org.example.Nothing"})
    refused = place.run("apply")
    assert refused.returncode == 2
    assert f"{wrong}: config.connector.class is not one the worker has. It has org.apache" in refused.stderr
    assert place.worker.get("/connectors") == []


def test_a_worker_killed_in_the_middle_of_a_file_neither_loses_nor_repeats_a_line(
    place: Place, kafka: KafkaBroker, tmp_path: Path
) -> None:
    chance = random.Random(20261127)
    topic = new_topic(kafka.bootstrap, partitions=1)
    sent = lines(40_000)
    write(tmp_path / "big.jsonl", sent)
    place.put("killed", **{"topic": topic, "file": str(tmp_path / "big.jsonl"), "batch.size": 100})
    place.apply()
    arrived = Committed(kafka.bootstrap, topic)
    arrived.read(chance.randrange(2_000, 20_000))
    place.worker.kill()
    arrived.more(0.5)
    assert 0 < len(arrived.values) < len(sent)  # it was in the middle
    place.worker.start()
    assert arrived.all_of(sent)


def test_the_limits_that_the_docs_state_still_are(place: Place, kafka: KafkaBroker, tmp_path: Path) -> None:
    """When Kafka has mended one of them, docs/kafka-connect.md and `batch.size` can change."""
    late = tmp_path / "late.jsonl"
    sent = [b"%d" % number for number in range(103)]  # less than a kilobyte
    write(late, sent)
    topic = new_topic(kafka.bootstrap, partitions=1)
    place.put("late", **{"topic": topic, "file": str(late), "batch.size": 100})
    odd = tmp_path / "odd.jsonl"
    other = [impression(number, event_id=f"i{number}").replace(b"news", "né".encode()) for number in range(1000)]
    write(odd, other)
    second = new_topic(kafka.bootstrap, partitions=1)
    place.put("odd", topic=second, file=str(odd))
    place.apply()
    arrived = Committed(kafka.bootstrap, topic)
    assert arrived.all_of(sent[:100])
    more = lines(1)
    write(late, more, "ab")
    assert arrived.all_of(sent + more)

    repeated = Committed(kafka.bootstrap, second)
    assert repeated.all_of(other)
    place.put("odd", **{"topic": second, "file": str(odd), "batch.size": 999})  # starts its task anew
    place.apply()
    assert len(repeated.read(1001)) > 1000


class Watch:
    """The alerts sensor of a code location, and who is told."""

    def __init__(self, site: DagsterLake, instance: dg.DagsterInstance, receiver: Receiver) -> None:
        self.site, self.instance, self.receiver = site, instance, receiver
        self.cursor: str | None = None

    def told(self) -> list[tuple[str, str]]:
        before = len(self.receiver.bodies("/hook"))
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"settings": self.site.settings})
        self.site.location().get_repository_def().get_sensor_def("alerts")(context)
        self.cursor = context.cursor
        return [(body["event"], body["key"]) for body in self.receiver.bodies("/hook")[before:]]


@pytest.fixture
def watch(tmp_path: Path, worker: ConnectWorker) -> Iterator[Watch]:
    with Receiver() as receiver, dg.instance_for_test() as instance:
        site = DagsterLake.at(tmp_path, alerts=AlertSettings(webhook_url=f"{receiver.url}/hook"))
        site.settings.connect.url = worker.url
        yield Watch(site, instance, receiver)


def test_a_failed_task_is_seen_told_and_over_when_it_is_mended(
    place: Place, kafka: KafkaBroker, watch: Watch, tmp_path: Path
) -> None:
    topic = new_topic(kafka.bootstrap, partitions=1, **{"max.message.bytes": "20000"})
    sent = [*lines(10), impression(10, url="x" * 60_000)]
    write(tmp_path / "long.jsonl", sent)
    place.put("long", topic=topic, file=str(tmp_path / "long.jsonl"))
    assert watch.told() == []
    place.apply()
    wait_until(lambda: place.failed("long"))
    shown = place.run("status")
    assert shown.returncode == 44
    assert "RecordTooLargeException" in shown.stdout
    assert "Failed: long." in shown.stderr
    assert watch.told() == [("fire", "connector/long")]
    body = watch.receiver.bodies("/hook")[-1]
    assert "task 0 on 127.0.0.1:" in body["text"]
    assert "RecordTooLargeException" in body["text"]
    assert watch.told() == []
    assert "Something has failed, see: ad-lakehouse connect status" in place.run("apply").stdout

    there, watch.site.settings.connect.url = watch.site.settings.connect.url, f"http://127.0.0.1:{free_ports(1)[0]}"
    assert watch.told() == [("fire", "connect/unreachable")]  # and the task's alert is not over
    away = cli_here("connect", "status", CONNECT__URL=watch.site.settings.connect.url)
    assert (away.returncode, "Start its worker" in away.stderr) == (45, True)
    watch.site.settings.connect.url = there
    assert watch.told() == [("resolve", "connect/unreachable")]

    allow(kafka.bootstrap, topic, "max.message.bytes", "100000")
    mended = place.run("apply", "--restart-failed")
    assert mended.stdout == "long: what had failed is started again\n"
    assert Committed(kafka.bootstrap, topic).all_of(sent)
    assert place.run("status").returncode == 0
    assert watch.told() == [("resolve", "connector/long")]


def allow(bootstrap: str, topic: str, field: str, value: str) -> None:
    """Changes one setting of a topic."""
    entry = ConfigEntry(field, value, incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.incremental_alter_configs([wanted])[wanted].result(20)
