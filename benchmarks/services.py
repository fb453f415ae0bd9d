"""The roles of the production picture: `python -m benchmarks.services [start|files|questions]`.

start: seconds until each service answers, and its memory then. files: rows a second of the file router and of Kafka
Connect, beside a producer that does no more. questions: those of the docs, by Trino and by DuckDB.

The services are started as the tests do (tests/), without Docker; `make test-engines` fetches them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import psutil
import requests
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "engines")]

from avro_writers import BID_TYPES, bid, writer
from connect_worker import ConnectWorker
from postgres_server import PostgresServer
from query_engine import QueryEngine
from registry_server import RegistryServer
from s3_server import S3Server
from server import listens

from ad_lakehouse.dbt_delta.run import build
from ad_lakehouse.defs.prepare import prepare
from ad_lakehouse.demo.broker import KafkaBroker, free_ports
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import generate
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.publish import publish as publish_demo
from ad_lakehouse.demo.server_process import ServerProcess
from ad_lakehouse.lake import Lake
from ad_lakehouse.landing import land_all
from ad_lakehouse.prompt import open_lake
from ad_lakehouse.quality.ledger import write_ledger
from ad_lakehouse.settings import Settings, TrinoSettings
from ad_lakehouse.warehouse.register import register
from ad_lakehouse.warehouse.trino import Trino
from benchmarks.measure import Measured, measured, peak_of
from benchmarks.records import impressions

console = Console(width=140)
SETTLED_SECONDS = 5.0  # after its first answer a service's memory is looked at
TRIES = 3


class Started:
    """Services that run until the end, with what their start took."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.table = Table("service", "seconds until it answers", "resident MB", header_style="bold")

    def begin(self, name: str, start: Callable[[], Any], end: Callable[[Any], None]) -> Any:
        """Starts it in `start`, which returns when it answers."""
        before = {each.pid for each in psutil.Process().children(recursive=True)}
        begun = time.perf_counter()
        running = start()
        seconds = time.perf_counter() - begun
        self._stack.callback(end, running)
        time.sleep(SETTLED_SECONDS)
        new = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
        self.table.add_row(name, f"{seconds:.1f}", f"{sum(each.memory_info().rss for each in new) / 1e6:,.0f}")
        return running

    def command(self, name: str, folder: Path, answers: Callable[[str], bool], *words: str, **given: str) -> None:
        """A command of ours; `answers` is given what it has printed."""
        log = folder / f"{name}.log"

        def start() -> ServerProcess:
            named = (f"{key}={value}" for key, value in given.items())
            process = ServerProcess(["env", *named, sys.executable, "-m", *words], log, folder)
            if not process.waited_for(lambda: answers(log.read_text()), 120):
                raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
            return process

        self.begin(name, start, ServerProcess.end)


class Timed(QueryEngine):
    """Tells what each of its parts took."""

    def __init__(self, started: Started) -> None:
        super().__init__()
        self._started = started

    def _start(self, name: str, *how: Any, **more: Any) -> None:
        self._started.begin(name, lambda: QueryEngine._start(self, name, *how, **more), lambda _: None)


def show_start() -> None:
    prepare()  # as the image has done
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, started = Path(name), Started(stack)
        broker = started.begin("Kafka", lambda: KafkaBroker().__enter__(), lambda each: each.__exit__())
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = ("ad.impressions", "ad.clicks", "ad.conversions", "ad.bid_requests")
        for made in admin.create_topics([NewTopic(each, 6, 1) for each in topics]).values():
            made.result(30)
        registry = started.begin("registry (Apicurio)", lambda: RegistryServer().start(), RegistryServer.close)
        connect = {"CONNECT_IMPRESSIONS_FILE": str(folder / "none.jsonl")}
        started.begin(
            "Kafka Connect", lambda: ConnectWorker(broker.bootstrap, "bench", connect).start(), ConnectWorker.close
        )
        started.begin("store (versitygw)", lambda: S3Server().start(), S3Server.close)
        started.begin("Postgres", lambda: PostgresServer().__enter__(), lambda each: each.__exit__())
        stack.enter_context(Timed(started))
        (folder / "outbox").mkdir()
        for each in ("home", "drop"):
            (folder / each).mkdir()
        (page, code, web) = free_ports(3)
        (folder / "workspace.yaml").write_text(f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {code}}}\n")
        ours = {
            "AD_LAKEHOUSE_LAKE": str(folder / "lake"),
            "AD_LAKEHOUSE_DROP_FOLDER": str(folder / "drop"),
            "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY": registry.url,
            "AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY_AUTH": registry.auth,
            "DAGSTER_HOME": str(folder / "home"),
        }
        cli = ("ad_lakehouse",)
        started.command(
            "sinks", folder, lambda _: ok(f"http://127.0.0.1:{page}/health"), *cli, "land", "--follow", "--port",
            str(page), **ours,
        )  # fmt: skip
        started.command(
            "router", folder, lambda told: "Routing" in told, *cli, "route", str(folder / "outbox"), "--follow", **ours
        )
        started.command("monitor", folder, lambda told: "Watching" in told, *cli, "monitor", **ours)
        started.command(
            "code location", folder, lambda _: answers_grpc(code), "dagster", "api", "grpc", "--module-name",
            "ad_lakehouse.definitions", "--port", str(code), **ours,
        )  # fmt: skip
        workspace = ("--workspace", str(folder / "workspace.yaml"))
        started.command(
            "webserver", folder, lambda _: ok(f"http://127.0.0.1:{web}/server_info"), "dagster_webserver", "--port",
            str(web), *workspace, **ours,
        )  # fmt: skip
        started.command(
            "daemon", folder, lambda told: "SensorDaemon" in told, "dagster._daemon", "run", *workspace, **ours
        )
        console.print(started.table)


def ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def answers_grpc(port: int) -> bool:
    from dagster._grpc.client import DagsterGrpcClient

    client: Any = DagsterGrpcClient(host="127.0.0.1", port=port)
    return listens(port) and client.health_check_query() == "SERVING"


def show_files(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(KafkaBroker())
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        made = {each: folder / each.partition(".")[0] / f"all.{each.partition('.')[2]}" for each in FORMS}
        for path in made.values():
            path.parent.mkdir()
        with made["json.jsonl"].open("wb") as out:
            out.writelines(line + b"\n" for line in islice(impressions(7, time.time_ns() // 1000), rows))
        with made["csv.csv"].open("wb") as out:
            out.writelines(csv_lines(rows))
        with made["avro.avro"].open("wb") as out:
            some = [bid(number) for number in range(1_000)]
            fastavro.writer(out, fastavro.parse_schema(writer(BID_TYPES)), (some[n % 1_000] for n in range(rows)))
        registry = RegistryServer().start()
        stack.callback(registry.close)

        table = Table("files to topics", "rows", "rows/s", "CPU s per M rows", "peak MB", header_style="bold")

        def add(title: str, each: Measured) -> None:
            if each.rows != rows:
                raise RuntimeError(f"{title}: {each.rows} of {rows} rows")
            table.add_row(
                title, f"{each.rows:,}", f"{each.rows_per_second:,.0f}", f"{each.cpu_per_million:.1f}",
                f"{each.peak_bytes / 1e6:.0f}",
            )  # fmt: skip

        def topic(title: str) -> str:
            admin.create_topics([NewTopic(title, 6, 1)])[title].result(30)
            return title

        lines = str(made["json.jsonl"])
        add("a producer alone: JSON Lines", measured("benchmarks.raw_produce", lines, broker.bootstrap, topic("raw")))
        for form, (title, source) in FORMS.items():
            where = (
                made[form].parent,
                broker.bootstrap,
                topic(f"routed.{source}"),
                source,
                registry.url,
                registry.auth,
            )
            add(f"router: {title}", measured("benchmarks.route_once", *where))
        seconds, memory = connected(stack, broker, topic("ad.impressions"), lines, rows)
        table.add_row("Kafka Connect: JSON Lines", f"{rows:,}", f"{rows / seconds:,.0f}", "", f"{memory / 1e6:.0f}")
        console.print(table)


FORMS = {
    "json.jsonl": ("JSON Lines", "impressions"),
    "csv.csv": ("CSV", "clicks"),
    "avro.avro": ("Avro", "bid_requests"),
}


def csv_lines(rows: int) -> Iterator[bytes]:
    yield b"event_ts,user_id,campaign_id,conversion_type,event_id,creative_id,impression_id,url,price_micros\n"
    for n in range(rows):
        yield f"2026-11-30T12:{n // 60 % 60:02}:{n % 60:02}Z,u{n},c{n % 500},click,e{n},cr{n % 5000},i{n},,\n".encode()


def connected(stack: ExitStack, broker: KafkaBroker, topic: str, path: str, rows: int) -> tuple[float, int]:
    """Seconds from the connector's creation to the last row on the topic, and the worker's memory."""
    worker = ConnectWorker(broker.bootstrap, "bench", {"CONNECT_IMPRESSIONS_FILE": path}).start()
    stack.callback(worker.close)
    shipped = json.loads((Path(__file__).parents[1] / "docker/connect/connectors/impressions.json").read_text())
    begun = time.perf_counter()
    requests.post(f"{worker.url}/connectors", json=shipped, timeout=60).raise_for_status()
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "counts"})
    stack.callback(consumer.close)
    # The end of a transaction takes an offset in each partition, too: of a million, the last hundred are not waited for
    while sum(consumer.get_watermark_offsets(TopicPartition(topic, each))[1] for each in range(6)) < rows:
        time.sleep(0.2)
    seconds = time.perf_counter() - begun
    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    (java,) = [each for each in psutil.Process().children(recursive=True) if main in each.cmdline()]
    return seconds, peak_of(java.pid)


def show_questions(count: int) -> None:
    from test_query_engine import QUESTIONS

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        os.environ.update(DBT_TARGET_PATH=str(folder / "target"), DBT_LOG_PATH=str(folder / "logs"))
        engine = stack.enter_context(QueryEngine())
        home = DemoHome(folder / "demo")
        settings = Settings(lake=str(folder / "lake"), trino=TrinoSettings(host="127.0.0.1", port=engine.port))
        lake = Lake(settings.lake)
        publish_demo(
            generate(GeneratorConfig(end=datetime(2026, 11, 20, tzinfo=UTC), impressions=count, days=7)), None, home
        )
        land_all(lake, settings, folder=str(home.drop), topics=False, settle_seconds=0.0)
        build(settings).raise_if_failed()
        write_ledger(lake)
        register(lake, settings.trino)
        trino = Trino("127.0.0.1", engine.port, "bench", catalog="lake")
        table = Table(f"{count:,} impressions", "DuckDB ms", "Trino ms", header_style="bold")
        opening = timed(lambda: open_lake(lake).__enter__())
        with open_lake(lake) as duckdb:
            for question in QUESTIONS:
                by_duckdb = timed(partial(answer, duckdb, question))
                by_trino = timed(partial(trino.query, question))
                table.add_row(" ".join(question.split())[:80], f"{by_duckdb:,.0f}", f"{by_trino:,.0f}")
        console.print(table)
        console.print(f"Before it DuckDB opens all {len(lake.tables())} tables once: {opening:,.0f} ms.")


def answer(duckdb: Any, question: str) -> None:
    duckdb.execute(question).fetchall()


def timed(step: Callable[[], Any]) -> float:
    """Milliseconds, the median of some."""
    taken = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        step()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.services", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each file")
    parser.add_argument("--impressions", type=int, default=200_000, help="of the lake that is asked")
    parser.add_argument("only", nargs="?", choices=["start", "files", "questions"], help="only this part")
    given = parser.parse_args()
    if given.only in (None, "start"):
        show_start()
    if given.only in (None, "files"):
        show_files(given.rows)
    if given.only in (None, "questions"):
        show_questions(given.impressions)


if __name__ == "__main__":
    main()
