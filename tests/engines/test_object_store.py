"""A whole lake on an S3-compatible store, by settings only: landed, read, cared for, built, refused in plain words.

Belongs here: what an object store does in another way than a disk. Not here: what holds wherever a lake is
(integration, faults), a drop folder alone (integration/test_files_table.py).
"""

import gzip
import json
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import landing_oracle
import psutil
import pytest
from command_line import cli, cli_here
from dagster_lake import target_in
from landing_service import Worker, ended, metrics, wait_landed
from landing_topics import IMPRESSIONS, impression, landed_records, load, new_topic, publish, rows
from router import committed, places
from s3_server import SECRET, S3Server

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.lake.views import connect, define_views
from kafka_sinks.commit import BronzeTable, Commit, Delivery
from kafka_sinks.sources import bronze_schema, load_sources

WRONG_SECRET = "wr0ng+secret/of=nobody"  # noqa: S105
COMMANDS = (("land", "--files", "DROP"), ("status",), ("sql", "select 1"), ("plan",), ("maintain",), ("check",))


@dataclass(frozen=True)
class OnStore:
    """A lake and a drop folder in the store's bucket, and the settings that say so."""

    lake: Lake
    drop: str
    folder: Path  # the objects of the drop folder as the store keeps them
    environment: dict[str, str]
    name: str

    def put(self, name: str, content: bytes) -> None:
        """Puts an object there whole, as a store does."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = self.folder.parent / uuid.uuid4().hex
        aside.write_bytes(content)
        aside.rename(target)

    def cli(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return cli_here(*arguments, **(self.environment | more))

    def done(self, *arguments: str, **more: str) -> str:
        """What a command that must succeed prints."""
        done = self.cli(*arguments, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sql(self, query: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.done("sql", query, "--format", "json").splitlines()]


@pytest.fixture
def s3(store: S3Server) -> OnStore:
    """An empty lake of its own."""
    name = uuid.uuid4().hex[:8]
    root, drop = f"s3://lake/{name}/tables", f"s3://lake/{name}/drop"
    named = {
        "LAKE": root,
        "STORAGE_OPTIONS": json.dumps(store.options()),
        "DROP_FOLDER": drop,
        "LANDING__SETTLE_SECONDS": "0",
        "MAINTENANCE__MIN_FILES": "2",
    }
    return OnStore(Lake(root, store.options()), drop, store.buckets / "lake" / name / "drop", named, name)


@pytest.fixture(scope="module", autouse=True)
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with target_in(tmp_path_factory.mktemp("dbt")):
        yield


def topic_settings(kafka: KafkaBroker, topic: str, folder: Path) -> dict[str, str]:
    """Impressions come from this topic."""
    (folder / "sources").mkdir()
    (folder / "sources" / "impressions.yml").write_text(f"topic: {topic}\n")
    return {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "LANDING__SOURCES": str(folder / "sources")}


def test_topic_and_files_land_once_on_a_store_and_stay_whole_under_maintenance(
    kafka: KafkaBroker, s3: OnStore, tmp_path: Path
) -> None:
    topic = new_topic(kafka.bootstrap)
    s3.environment.update(topic_settings(kafka, topic, tmp_path))
    lines = b"".join(impression(number) + b"\n" for number in range(40)) + b"{bad\n"
    s3.put("a.jsonl", lines)
    for number in range(3):
        publish(kafka.bootstrap, topic, [impression(n) if n % 10 else b"{bad" for n in range(100)], key=b"k")
        s3.done("land", "--source", "impressions")
        s3.put(f"again{number}.jsonl", lines)
    landing_oracle.check_rows(s3.lake, kafka.bootstrap, topic)

    files = rows(s3.lake, "_file, count(*), count(_reason)", where="_file is not null group by all")
    assert files == [("a.jsonl", 41, 1)]
    states = s3.sql("select path, state from ops.files order by path")
    assert [(each["path"], each["state"]) for each in states] == [
        ("a.jsonl", "landed"), ("again0.jsonl", "duplicate"), ("again1.jsonl", "duplicate"),
    ]  # fmt: skip
    assert "invalid_json │   31 │" in s3.done("quarantine", "list")
    assert "bronze.impressions" in s3.done("status")
    assert "0 fail" in s3.done("check")

    before = len(s3.lake.open(IMPRESSIONS).file_uris())
    s3.done("maintain")
    after = len(s3.lake.open(IMPRESSIONS).file_uris())
    assert (before, after) == (8, 2), "the day and the rejected rows"
    assert "0 fail" in s3.done("check"), "the ledger counts the compacted files"
    publish(kafka.bootstrap, topic, [impression(n) for n in range(10)], key=b"k")
    s3.done("land", "--source", "impressions")
    landing_oracle.check_rows(s3.lake, kafka.bootstrap, topic)


def test_writers_of_one_table_on_a_store_lose_and_double_nothing(
    kafka: KafkaBroker, s3: OnStore, store: S3Server, tmp_path: Path
) -> None:
    # Each has a group of its own, so that all of them land all records, and each commit is one that others want, too
    topic = new_topic(kafka.bootstrap)
    given = {"AD_LAKEHOUSE_STORAGE_OPTIONS": json.dumps(store.options()), "AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS": "100"}
    workers = [Worker(s3.lake, kafka.bootstrap, topic, f"own-{uuid.uuid4().hex}", tmp_path, **given) for _ in range(3)]
    with ended(*workers):
        with load(kafka.bootstrap, topic, a_second=150):
            assert all(worker.port for worker in workers), "all of them have begun"
            wait_landed(s3.lake, topic, landed_records(s3.lake, topic).total() + 300)
            workers[0].end(signal.SIGKILL)
            wait_landed(s3.lake, topic, landed_records(s3.lake, topic).total() + 300)
        landing_oracle.wait_and_check(s3.lake, kafka.bootstrap, topic)
        lost = [metrics(each.port)['ad_lakehouse_sink_conflicts_total{source="impressions"}'] for each in workers[1:]]
        assert sum(lost) > 3, "they did not meet"
        assert [each.end() for each in workers[1:]] == [0, 0]
    assert not any(SECRET in each.log.read_text() for each in workers)


def test_a_commit_of_another_writer_is_read_without_the_whole_log(s3: OnStore, store: S3Server) -> None:
    schema = bronze_schema(load_sources()["impressions"])
    ours, theirs = (BronzeTable(s3.lake, IMPRESSIONS, schema) for _ in range(2))

    def land(number: int) -> None:
        found = Commit(schema.empty_table(), [Delivery("theirs", number, 0, {})])
        theirs.land(f"b{number}", lambda _: found)

    for number in range(30):
        land(number)
    ours.refresh()
    land(30)
    before = store.requests(s3.name)
    ours.refresh()
    asked = store.requests(s3.name) - before
    assert ours.landed("theirs") == 30
    assert 0 < asked < 10, "of 31 entries"


class Traffic:
    """Impressions of two days and a click in the drop folder, with the dimensions of one campaign."""

    SELECT = ("--select", "+campaign_daily")
    MART = "select campaign_name, impressions, clicks, spend_micros from marts.campaign_daily order by report_date"

    def __init__(self, s3: OnStore) -> None:
        self._s3 = s3
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        self._days = [noon - timedelta(days) for days in (3, 2)]
        s3.put("dimensions/advertisers.csv", b"advertiser_id,name,time_zone,currency\na1,One,UTC,USD\n")
        s3.put("dimensions/campaigns.csv", b"campaign_id,advertiser_id,name\nk1,a1,Spring\n")
        s3.put("dimensions/creatives.csv", b"creative_id,campaign_id\nc1,k1\n")
        s3.put("imps.jsonl", self._shown(0, *range(100, 120)) + self._shown(1, *range(30)))
        click = f"{(self._days[1] + timedelta(minutes=5)).isoformat()},u1,k1,click\n"
        s3.put("events.csv", f"event_ts,user_id,campaign_id,conversion_type\n{click}".encode())
        s3.done("land", "--files", s3.drop)

    def late(self, number: int) -> None:
        """One more impression of the first day lands."""
        self._s3.put(f"late{number}.jsonl", self._shown(0, number))
        self._s3.done("land", "--files", self._s3.drop)

    def _shown(self, day: int, *numbers: int) -> bytes:
        at = self._days[day].isoformat()
        told = {"event_ts": at, "creative_id": "c1", "price_micros": 2_000_000, "currency": "USD"}
        return b"".join(impression(number, event_id=f"i{number}", **told) + b"\n" for number in numbers)

    def mart(self) -> list[tuple[object, ...]]:
        return [tuple(each.values()) for each in self._s3.sql(self.MART)]


def test_marts_are_built_on_a_store_and_a_late_event_restates_its_day(s3: OnStore) -> None:
    traffic = Traffic(s3)
    s3.done("build", *traffic.SELECT)
    assert traffic.mart() == [("Spring", 20, 0, 40_000), ("Spring", 30, 1, 60_000)]
    traffic.late(200)
    built = s3.done("build", *traffic.SELECT)
    assert "no input changed" in built
    with connect(s3.lake) as connection:
        define_views(connection, s3.lake)
        assert connection.execute(traffic.MART).fetchall() == [("Spring", 21, 0, 42_000), ("Spring", 30, 1, 60_000)]


@pytest.mark.usefixtures("spark")
def test_spark_builds_on_a_store_by_the_settings_that_all_others_have(s3: OnStore, tmp_path: Path) -> None:
    traffic = Traffic(s3)
    with commands_of("java") as seen:
        # In a process of its own, as the session of this one may have begun for a lake on the disk
        done = cli(tmp_path, "build", "--target", "spark", *traffic.SELECT, **s3.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("fs.s3a.endpoint=" in each for each in seen), "no Spark was seen"
    assert not any(SECRET in each for each in seen), "whoever lists the processes can read it"
    assert traffic.mart() == [("Spring", 20, 0, 40_000), ("Spring", 30, 1, 60_000)]

    traffic.late(200)
    refused = s3.cli("build", *traffic.SELECT)
    assert "is written by spark; duckdb beside it could lose commits" in refused.stdout + refused.stderr
    done = cli(tmp_path, "build", "--target", "spark", *traffic.SELECT, **s3.environment)
    assert "no input changed" in done.stdout, done.stdout + done.stderr
    assert traffic.mart() == [("Spring", 21, 0, 42_000), ("Spring", 30, 1, 60_000)]

    traffic.late(201)
    s3.done("handover", "--to", "duckdb")
    assert "no input changed" in s3.done("build", *traffic.SELECT)
    assert traffic.mart() == [("Spring", 22, 0, 44_000), ("Spring", 30, 1, 60_000)]


@contextmanager
def commands_of(program: str) -> Iterator[set[str]]:
    """The command lines of the processes of this name that are there meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for process in psutil.process_iter(["name", "cmdline"]):
                if process.info["name"] == program:
                    seen.add(" ".join(process.info["cmdline"] or []))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        over.set()
        watch.join()


def test_files_of_a_prefix_are_routed_to_their_topic_once(kafka: KafkaBroker, s3: OnStore, tmp_path: Path) -> None:
    topic = new_topic(kafka.bootstrap, f"routed-{s3.name}", 2)
    s3.environment.update(topic_settings(kafka, topic, tmp_path), ROUTER__PROGRESS_TOPIC=f"progress-{s3.name}")
    del s3.environment["DROP_FOLDER"]  # which is not landed but routed
    content = b"".join(impression(number) + b"\n" for number in range(50))
    s3.put("a.jsonl", content)
    s3.put("packed.jsonl.gz", gzip.compress(impression(50) + b"\n"))
    for told in ("routed", "already routed"):
        done = cli(tmp_path, "route", s3.drop, **s3.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"a.jsonl │ {told} │" in " ".join(done.stdout.split())
        s3.put("again.jsonl", content)
    seen = places(committed(kafka.bootstrap, topic))
    assert (len(seen), seen.total()) == (51, 51)


@pytest.mark.parametrize(
    ("wrong", "what", "remedy"),
    [
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, "403 Forbidden: SignatureDoesNotMatch: ", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "error sending request", "See whether the store runs"),
        ({"AWS_REGION": "mars-1"}, "AuthorizationHeaderMalformed: ", "Correct AWS_REGION"),
        ({}, "404 Not Found: NoSuchBucket: ", "Make the bucket"),
    ],
    ids=["secret", "address", "region", "bucket"],
)
def test_a_store_that_refuses_is_told_by_every_command_with_what_to_do_and_no_secret(
    s3: OnStore, store: S3Server, tmp_path: Path, wrong: dict[str, str], what: str, remedy: str
) -> None:
    root = s3.lake.root if wrong else "s3://nowhere/tables"
    given = {"LAKE": root, "STORAGE_OPTIONS": json.dumps(store.options() | wrong)}
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_bytes(impression(1))
    for command in COMMANDS if "AWS_ENDPOINT_URL" not in wrong else [("status",)]:  # which asks ten times, for 3 s
        done = s3.cli(*(str(tmp_path / "drop") if each == "DROP" else each for each in command), **given)
        told = done.stdout + done.stderr
        assert done.returncode == (19 if command[0] == "land" else 38), told
        assert what in told, command
        assert root in told, command
        assert remedy in told, command
        assert "\n" not in done.stderr.strip(), command
        assert not any(secret in told for secret in (SECRET, WRONG_SECRET)), command


def test_a_refusal_is_two_lines_on_the_terminal(s3: OnStore, store: S3Server, tmp_path: Path) -> None:
    options = json.dumps(store.options(WRONG_SECRET))
    done = cli(tmp_path, "status", LAKE=s3.lake.root, STORAGE_OPTIONS=options)
    assert (done.returncode, done.stdout) == (38, "")
    what, todo = done.stderr.splitlines()
    assert what.startswith(f"Lake {s3.lake.root} cannot be opened: ")
    assert todo.startswith("Correct the key in AD_LAKEHOUSE_STORAGE_OPTIONS")


def test_a_service_with_a_wrong_secret_ends_with_the_reason_and_without_the_secret(
    kafka: KafkaBroker, s3: OnStore, store: S3Server, tmp_path: Path
) -> None:
    given = {"AD_LAKEHOUSE_STORAGE_OPTIONS": json.dumps(store.options(WRONG_SECRET))}
    worker = Worker(s3.lake, kafka.bootstrap, new_topic(kafka.bootstrap), uuid.uuid4().hex, tmp_path, **given)
    with ended(worker):
        assert worker.process.wait(60) == 19
    told = worker.log.read_text()
    assert "SignatureDoesNotMatch" in told
    assert WRONG_SECRET not in told


def test_settings_may_stand_in_their_own_variables_or_in_a_file_of_secrets(
    s3: OnStore, store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("a.jsonl", impression(1))
    s3.done("land", "--files", s3.drop)
    (tmp_path / "ad_lakehouse_storage_options").write_text(s3.environment.pop("STORAGE_OPTIONS"))
    counted = "select count(*) as n from bronze.impressions"
    monkeypatch.setenv("AD_LAKEHOUSE_SECRETS_DIR", str(tmp_path))
    assert s3.sql(counted) == [{"n": 1}]
    monkeypatch.delenv("AD_LAKEHOUSE_SECRETS_DIR")
    options = store.options()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, options.pop(name))
    s3.environment["STORAGE_OPTIONS"] = json.dumps(options)
    assert s3.sql(counted) == [{"n": 1}]
    s3.environment["STORAGE_OPTIONS"] = json.dumps({"AWS_ALLOW_HTTP": options.pop("AWS_ALLOW_HTTP")})
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    assert s3.sql(counted) == [{"n": 1}]
    s3.put("b.jsonl", impression(2))
    s3.done("land", "--files", s3.drop)
    assert s3.sql(counted) == [{"n": 2}]


def test_options_that_a_store_does_not_know_are_named_without_their_value(s3: OnStore, store: S3Server) -> None:
    options = json.dumps(store.options() | {"AWS_SECRET_KEY": WRONG_SECRET})
    done = s3.cli("status", STORAGE_OPTIONS=options)
    assert done.returncode == 2
    assert "'aws_secret_key' is not valid for store 'S3'" in done.stderr
    assert WRONG_SECRET not in done.stderr
    assert WRONG_SECRET not in repr(Lake(s3.lake.root, store.options(WRONG_SECRET)))
