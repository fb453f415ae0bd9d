"""The production picture's own services, by the commands and settings that docker/compose.yml gives them, as processes.

Names of hosts and folders lead to this machine; broker, store and registry are real. Dagster: test_production.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.compute as pc
import pytest
import yaml
from avro_writers import BID_TYPES, bid
from avro_writers import writer as avro_schema
from landing_topics import impression, new_topic, publish, wait_until
from registry_server import RegistryServer
from s3_server import REGION, SECRET, S3Server

from ad_lakehouse.demo.artefacts import KafkaUnavailable
from ad_lakehouse.demo.broker import KafkaBroker, free_ports
from ad_lakehouse.demo.server_process import ServerProcess
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.writer import WRITER
from ad_lakehouse.monitor.table import WINDOWS
from ad_lakehouse.prompt import open_lake

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docker/compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STARTED = ("sinks", "router", "monitor")
RECORDS = 600
CLICKS = "event_ts,user_id,campaign_id,conversion_type\n" + "".join(
    f"2026-11-20T10:00:{number % 60:02}Z,u{number},c{number % 7},click\n" for number in range(RECORDS)
)


@dataclass
class Picture:
    """Services of compose.yml on this machine; `here` says what its names are here."""

    folder: Path
    broker: KafkaBroker
    lake: Lake
    here: dict[str, str]
    processes: dict[str, ServerProcess] = field(default_factory=dict)

    def said(self, text: str) -> str:
        return reduce(lambda told, there: told.replace(there, self.here[there]), self.here, text)

    def command(self, service: str, words: list[str]) -> list[str]:
        """With the environment of the service; values go into the child's environment only."""
        given = {name: self.said(value) for name, value in SERVICES[service]["environment"].items()}
        own = {name: value for name, value in os.environ.items() if not name.startswith("AD_LAKEHOUSE_")}
        program = sys.executable if words[0] == "python" else str(Path(sys.executable).parent / words[0])
        environment = (f"{name}={value}" for name, value in {**own, **given}.items())
        return ["env", "-i", *environment, program, *map(self.said, words[1:])]

    def start(self, service: str) -> ServerProcess:
        command = self.command(service, SERVICES[service]["command"])
        return ServerProcess(command, self.folder / f"{service}.log", self.folder)

    def is_well(self, service: str) -> bool:
        """By the service's own health check."""
        _, *words = SERVICES[service]["healthcheck"]["test"]
        return subprocess.run(self.command(service, words), capture_output=True, timeout=60).returncode == 0

    def rows(self, table: str) -> int:
        """Accepted rows."""
        name = TableName("bronze", table)
        found = self.lake.open_if_exists(name)
        return 0 if found is None else found.to_pyarrow_dataset().count_rows(pc.is_valid(pc.field("event_date")))


def broker_as_composed(folder: Path) -> KafkaBroker:
    """With the settings of compose.yml, but for addresses and folders."""
    local = ("LISTENERS", "ADVERTISED_LISTENERS", "CONTROLLER_QUORUM_VOTERS", "LOG_DIRS")
    config = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in SERVICES["kafka"]["environment"].items()
        if name.removeprefix("KAFKA_") not in local
    }
    return KafkaBroker(folder, config=config)


def make_topics(broker: KafkaBroker) -> None:
    """As the service `topics` does."""
    (command,) = SERVICES["topics"]["command"]
    names = re.search(r"for topic in (.+?);", command)
    count = re.search(r"--partitions (\d+)", command)
    assert names
    assert count
    for name in names[1].split():
        new_topic(broker.bootstrap, name, int(count[1]))


@pytest.fixture(scope="module")
def picture(
    store: S3Server,
    registry: RegistryServer,
    tmp_path_factory: pytest.TempPathFactory,
    unavailable: Callable[[str], None],
) -> Iterator[Picture]:
    folder = tmp_path_factory.mktemp("picture")
    for name in ("secrets", "outbox"):
        (folder / name).mkdir()
    (folder / "secrets/ad_lakehouse_storage_options").write_text(json.dumps({"aws_secret_access_key": SECRET}))
    (folder / "secrets/ad_lakehouse_kafka").write_text(json.dumps({"schema_registry_auth": registry.auth}))
    try:
        broker = broker_as_composed(folder / "kafka")
    except KafkaUnavailable as error:
        unavailable(str(error))
        return
    with broker, ExitStack() as stack:
        make_topics(broker)
        root = f"s3://lake/{folder.name}"
        here = {
            "http://registry:8080/apis/ccompat/v7": registry.url,
            "kafka:9092": broker.bootstrap,
            "http://store:7070": store.endpoint,
            "us-east-1": REGION,
            "s3://lake": root,
            "/run/secrets": str(folder / "secrets"),
            "/data/outbox": str(folder / "outbox"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 a text that is replaced
            "9108": str(free_ports(1)[0]),
        }
        made = Picture(folder, broker, Lake(f"{root}/lake", store.options()), here)
        for service in STARTED:
            made.processes[service] = made.start(service)
            stack.callback(made.processes[service].end)
        yield made


def test_services_as_composed_route_land_and_count_what_comes(picture: Picture) -> None:
    with (picture.folder / "outbox/bids.avro").open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(avro_schema(BID_TYPES)), map(bid, range(RECORDS)))
    (picture.folder / "outbox/clicks.csv").write_text(CLICKS)
    publish(picture.broker.bootstrap, "ad.impressions", map(impression, range(RECORDS)), 6)
    for table in ("impressions", "clicks", "bid_requests"):
        wait_until(lambda: picture.rows(table) >= RECORDS, 180)  # noqa: B023 asked at once
        assert picture.rows(table) == RECORDS
    wait_until(lambda: counted(picture.lake) >= RECORDS, 180)
    assert counted(picture.lake) == RECORDS
    for service in ("sinks", "router"):
        wait_until(lambda: picture.is_well(service), 60)  # noqa: B023 asked at once


@pytest.mark.timeout(900)  # a whole build, cold
@pytest.mark.usefixtures("spark")
def test_spark_as_composed_builds_what_has_landed(picture: Picture) -> None:
    dimensions = ["ad-lakehouse", "land"]  # as Dagster's runs do; there are none, and their tables are made
    for service, words in (("daemon", dimensions), ("spark", SERVICES["spark"]["command"])):
        command = picture.command(service, words)
        done = subprocess.run(command, cwd=picture.folder, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    with open_lake(picture.lake) as connection:
        found = connection.execute("select count(*) from silver.clicks").fetchone()
    assert found == (RECORDS,)
    writer = picture.lake.open(TableName("silver", "clicks")).metadata().configuration[WRITER]
    assert writer == "spark"


def test_services_as_composed_end_in_order(picture: Picture) -> None:
    for service, process in picture.processes.items():
        process.send(signal.SIGTERM)
        assert process.popen.wait(60) == 0, f"{service}: {(picture.folder / f'{service}.log').read_text()[-2000:]}"
    assert not picture.is_well("sinks"), "a health check that cannot fail"


def counted(lake: Lake) -> int:
    """Impressions that the monitor has counted."""
    if lake.open_if_exists(WINDOWS) is None:
        return 0
    with open_lake(lake) as connection:
        said = connection.execute(
            "select coalesce(sum(count), 0) from ops.monitor_windows "
            "where source = 'impressions' and measure = 'events'"
        ).fetchone()
    assert said is not None
    return int(said[0])
