"""Dropped files to topics, with a real broker: each row of each content once, whatever files there are.

Belongs here: routing that is not interrupted. Not here: kill -9 and zombies (tests/faults/test_kill_router.py).
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from avro_writers import BID_TYPES, bid, environment_with, settings_with, writer
from command_line import cli
from landing_topics import impression, new_topic, rows
from registry_server import RegistryServer
from router import World, places

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.replay import replay
from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.lake import Lake, TableName
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka
MIXED = ("clicks", "conversions")
TIME = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
COLUMNS = "user_id,event_ts,conversion_type,campaign_id,order_id,partner,url"


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Callable[..., World]:
    """A world with topics of these sources."""
    return lambda *sources, **config: World(kafka.bootstrap, tmp_path / "drop", *sources, **config)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lines(*numbers: int) -> bytes:
    return b"".join(impression(number) + b"\n" for number in numbers)


def container(path: Path, records: list[dict[str, Any]], codec: str = "null", size: int = 16_000) -> bytes:
    """Writes an Avro container of another writer than we are."""
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(writer(BID_TYPES)), records, codec=codec, sync_interval=size)
    return path.read_bytes()


def mixed(count: int) -> str:
    """CSV with columns of both sources and of none, in an order of its own, odd records among them."""
    kinds = ("click", "purchase", "teleport", "click", "signup", "")
    odd = [
        'u"x,{t},click,c1,,,',
        "u,{t},click",
        "\xff\xfe,{t},click,c1,,,",
        ",,,,,,",
        "{t},u,c1,click",
        "u,{t},click,c1,,,,,,,,,,,",
        "x",
    ]
    rows = [
        f'u{i},{TIME},{kinds[i % 6]},c{i % 3},{f"o{i}" if i % 2 else ""},{"p" * (i % 2)},"https://x.example/?a=1,\n{i}"'
        for i in range(count)
    ]
    return "\n".join([COLUMNS, *rows, *(each.format(t=TIME) for each in odd)]) + "\n"


def landed(lake: Lake, source: str) -> list[tuple[Any, ...]]:
    """All values of a table but for where the rows came from."""
    name = TableName("bronze", source)
    drop = {
        "_topic",
        "_partition",
        "_offset",
        "_timestamp",
        "_key",
        "_headers",
        "_file",
        "_row",
        "_landed_at",
        "_batch",
    }
    columns = [column for column in lake.open(name).schema().to_arrow().names if column not in drop]
    return rows(lake, ", ".join(f'"{column}"' for column in columns), name)


def test_routed_then_landed_equals_landed_as_files(
    world: Callable[..., World], registry: RegistryServer, tmp_path: Path
) -> None:
    """Values, reasons, errors and raw bytes of every table, those of odd records too."""
    here = world("impressions", *MIXED, "bid_requests")
    (here.folder / "events.csv").write_bytes(mixed(600).encode("latin-1"))
    (here.folder / "more.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + mixed(50).replace("\n", "\r\n").encode()))
    (here.folder / "a.jsonl").write_bytes(lines(*range(300)) + b'{"bad\n\n[1]\r\n\xff' + impression(7, extra=[1]))
    (here.folder / "b.jsonl.zst").write_bytes(pa.compress(lines(*range(20)), codec="zstd", asbytes=True))
    container(here.folder / "bids.avro", [bid(i) for i in range(400)], "deflate", 2_000)
    settings = settings_with(registry, here.settings(rows_per_transaction=70))
    reports = here.route(settings)
    assert {each.outcome for each in reports.values()} == {"routed"}, reports
    routed, direct = Lake(str(tmp_path / "routed")), Lake(str(tmp_path / "direct"))
    land_files(direct, here.sources, here.folder, settings)
    for source in ("impressions", *MIXED, "bid_requests"):
        land_topic(routed, here.sources[source], settings)
        assert landed(routed, source) == landed(direct, source), source
    assert len(landed(routed, "clicks")) > 400
    assert Counter(row[0] for row in rows(routed, "_reason", TableName("bronze", "clicks")))["invalid_csv"] >= 8
    assert not any(each.accepted for each in replay(routed, here.sources, settings))
    for source in ("impressions", *MIXED, "bid_requests"):
        assert landed(routed, source) == landed(direct, source), f"{source} after a replay"


def test_each_message_says_where_it_came_from(world: Callable[..., World]) -> None:
    here = world("impressions", *MIXED)
    content = lines(1, 2)
    (here.folder / "a.jsonl").write_bytes(content)
    (here.folder / "b.csv").write_text(f"user_id,event_ts,campaign_id,conversion_type\nu,{TIME},c,click\n")
    here.route()
    first, second = sorted(here.seen("impressions"), key=lambda each: each.place)
    assert first.headers == {"file": b"a.jsonl", "sha256": sha(content).encode(), "row": b"0"}
    assert second.headers["row"] == b"1"
    (click,) = here.seen("clicks")
    assert click.value == f"u,{TIME},c,click".encode()
    assert click.headers["csv.header"] == b"user_id,event_ts,campaign_id,conversion_type"


def test_a_content_is_routed_once_under_whatever_name(world: Callable[..., World]) -> None:
    here = world("impressions")
    content = lines(*range(50))
    (here.folder / "a.jsonl").write_bytes(content)
    assert here.route()["a.jsonl"].rows == 50
    (here.folder / "a.jsonl").rename(here.folder / "b.jsonl")
    (here.folder / "c.jsonl").write_bytes(content)
    again = here.route(here.settings(rows_per_transaction=7))
    assert {name: (each.outcome, each.rows) for name, each in again.items()} == {
        "b.jsonl": ("already routed", 0),
        "c.jsonl": ("already routed", 0),
    }
    (here.folder / "c.jsonl").write_bytes(lines(60, 61))
    with Router(here.sources, here.folder, here.settings()) as router:
        assert {each.path: each.rows for each in router.route()} == {"b.jsonl": 0, "c.jsonl": 2}
        assert {each.outcome for each in router.route()} == {"already routed"}
    assert sorted(places(here.seen("impressions")).values()) == [1] * 52
    states = here.progress().files
    assert {name: (each.state, each.rows) for name, each in states.items()} == {
        "a.jsonl": ("routed", 50),
        "b.jsonl": ("duplicate", 50),
        "c.jsonl": ("routed", 2),
    }
    assert states["b.jsonl"].reason == "the same content as a.jsonl"


def test_a_file_under_a_name_of_another_source_is_routed_again_under_its_own(world: Callable[..., World]) -> None:
    here = world("impressions", *MIXED)
    (here.folder / "a.jsonl").write_text(mixed(30), encoding="latin-1")
    assert here.route()["a.jsonl"].rows > 30
    (here.folder / "a.jsonl").rename(here.folder / "a.csv")
    assert here.route()["a.csv"].rows == len(here.seen(*MIXED)) == 37
    assert here.route()["a.csv"].outcome == "already routed"


def test_a_large_file_takes_several_transactions(world: Callable[..., World]) -> None:
    here = world("impressions")
    content = lines(*range(100))
    (here.folder / "a.jsonl").write_bytes(content)
    here.route(here.settings(rows_per_transaction=9))
    assert places(here.seen("impressions")) == Counter((sha(content), row) for row in range(100))
    assert [each.value for each in sorted(here.seen("impressions"), key=lambda each: each.place)] == content.split(
        b"\n"
    )[:-1]


def test_odd_and_broken_files_are_told_and_stop_no_other(world: Callable[..., World]) -> None:
    here = world("impressions", *MIXED, "bid_requests")
    whole = gzip.compress(b"".join(impression(i, note="x" * 5_000) + b"\n" for i in range(4_000)), 1)
    files = {
        "a_empty.jsonl": b"",
        "b_cut.jsonl.gz": whole[: len(whole) // 2],
        "c_utf16.jsonl": lines(1).decode().encode("utf-16"),
        "d_header.csv": b'a,"b\nc',
        "d_wide.csv": b",".join([b"x" * 3_000_000] * 2) + b"\nu",
        "e_none.avro": b"not Avro at all",
        "f_none.txt": b"x",
        "g_sites.csv": b"",
        "z_good.jsonl": lines(1),
    }
    for name, content in files.items():
        (here.folder / name).write_bytes(content)
    (here.folder / "dimensions").mkdir()
    (here.folder / "dimensions" / "sites.csv").write_text("site\nnews.example\n")
    reports = here.route(here.settings(rows_per_transaction=100))
    assert {name: each.outcome for name, each in reports.items()} == {
        "a_empty.jsonl": "routed",
        "b_cut.jsonl.gz": "broken",
        "c_utf16.jsonl": "broken",
        "d_header.csv": "broken",
        "d_wide.csv": "broken",
        "e_none.avro": "broken",
        "f_none.txt": "no source",
        "g_sites.csv": "routed",
        "z_good.jsonl": "routed",
        "dimensions/sites.csv": "no source",
    }
    states = here.progress().files
    assert {name for name, each in states.items() if each.state == "broken"} == {
        "b_cut.jsonl.gz",
        "c_utf16.jsonl",
        "d_header.csv",
        "d_wide.csv",
        "e_none.avro",
    }
    assert "UTF-16" in states["c_utf16.jsonl"].reason
    assert "has no topic; land it as a file" in states["dimensions/sites.csv"].reason
    assert [each.headers["file"] for each in here.seen("impressions", *MIXED, "bid_requests")] == [b"z_good.jsonl"]
    (here.folder / "b_cut.jsonl.gz").write_bytes(whole)  # and mended it is routed
    assert here.route()["b_cut.jsonl.gz"].rows == 4_000


def test_rows_of_a_half_corrupt_container_are_sent_and_the_damage_is_quarantined(
    world: Callable[..., World], registry: RegistryServer, lake: Lake
) -> None:
    here = world("bid_requests")
    content = bytearray(container(here.folder / "a.avro", [bid(i) for i in range(300)], size=1_000))
    sync = bytes(content[-16:])
    block = content.index(sync, len(content) // 2) + len(sync)
    content[block : block + 10] = b"\xff" * 10  # where its number of records and its size stand
    (here.folder / "a.avro").write_bytes(content)
    settings = settings_with(registry, here.settings())
    assert here.route(settings)["a.avro"].outcome == "routed"
    report = land_topic(lake, here.sources["bid_requests"], settings)
    assert 200 < report.accepted < 300
    assert report.rejected == {"invalid_avro": 1}


def test_a_row_that_no_message_takes_is_named_and_the_others_are_sent(world: Callable[..., World]) -> None:
    here = world("impressions", **{"max.message.bytes": "20000"})
    most = 20_000 - 512 - len("a.jsonl")
    rest = [impression(3, note="x" * (most + more - len(impression(3, note="")))) for more in (0, 1)]
    content = b"\n".join([impression(0), impression(1), impression(2, note="x" * 30_000), *rest])
    (here.folder / "a.jsonl").write_bytes(content)
    (here.folder / "bomb.jsonl.gz").write_bytes(gzip.compress(b"0" * (40 << 20) + b"\n" + impression(5)))
    reports = here.route()
    assert (reports["a.jsonl"].rows, [each.row for each in reports["a.jsonl"].named]) == (3, [2, 4])
    assert (reports["bomb.jsonl.gz"].rows, reports["bomb.jsonl.gz"].named[0].reason) == (1, "it is longer than 16 MiB")
    state = here.progress().files["a.jsonl"]
    assert (state.state, state.rows, state.unsent) == ("incomplete", 3, 2)
    assert state.reason.startswith("row 2: its 30,")
    assert sorted(row for digest, row in places(here.seen("impressions")) if digest == sha(content)) == [0, 1, 3]
    assert here.route()["a.jsonl"].outcome == "already routed"


def test_a_schema_that_the_registry_refuses_breaks_its_file_only(
    world: Callable[..., World], registry: RegistryServer
) -> None:
    here = world("bid_requests", "impressions")
    settings = settings_with(registry, here.settings())
    container(here.folder / "a.avro", [bid(1)])
    assert here.route(settings)["a.avro"].rows == 1
    subject = f"{here.topic('bid_requests')}-value"
    registry.session.put(f"{registry.url}/config/{subject}", json={"compatibility": "FULL"}, timeout=10)
    other = writer({"event_ts": "string"})
    with (here.folder / "b.avro").open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(other), [{"event_ts": TIME}])
    (here.folder / "c.jsonl").write_bytes(lines(1))
    reports = here.route(settings)
    assert (reports["b.avro"].outcome, reports["c.jsonl"].outcome) == ("broken", "routed")
    assert "refuses the file's schema" in reports["b.avro"].error
    assert registry.versions(subject) == [1]


def test_avro_files_wait_for_a_registry_and_stop_no_other(
    world: Callable[..., World], registry: RegistryServer
) -> None:
    here = world("bid_requests", "impressions")
    container(here.folder / "a.avro", [bid(1)])
    (here.folder / "b.jsonl").write_bytes(lines(1))
    settings = here.settings()
    settings.kafka.schema_registry = "http://127.0.0.1:1"
    with Router(here.sources, here.folder, settings) as router:
        outcomes = [each.outcome for each in router.route()]
        assert outcomes == ["no registry", "routed"]
        assert [error.exit_code for error in router.errors] == [28]
    assert "a.avro" not in here.progress().files
    assert here.route(settings_with(registry, settings))["a.avro"].rows == 1


def test_a_file_that_is_being_written_is_left_and_one_that_changes_is_not_told_as_routed(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ad_lakehouse.files.router.sending import Sender

    here = world("impressions")
    path = here.folder / "a.jsonl"
    path.write_bytes(lines(*range(30)))
    assert here.route(settle_seconds=600)["a.jsonl"].outcome == "still being written"
    assert here.seen("impressions") == []
    send = Sender.send

    def grows(sender: Sender, messages: Any) -> None:
        send(sender, messages)
        with path.open("ab") as more:
            more.write(lines(99))

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "send", grows)
        report = here.route(here.settings(rows_per_transaction=10))["a.jsonl"]
    assert (report.outcome, report.rows) == ("changed while read", 10)
    assert here.progress().files["a.jsonl"].state == "changed"
    assert not any(content.done for content in here.progress().contents.values())


def test_a_progress_topic_that_would_forget_is_refused(world: Callable[..., World], kafka: KafkaBroker) -> None:
    here = world("impressions")
    new_topic(kafka.bootstrap, f"routed-{here.name}", 1, **{"cleanup.policy": "delete"})
    (here.folder / "a.jsonl").write_bytes(lines(1))
    with pytest.raises(ConfigurationError, match=r"would forget what was routed"):
        here.route()
    assert here.seen("impressions") == []


def test_a_file_is_taken_up_when_its_topic_comes(world: Callable[..., World], kafka: KafkaBroker) -> None:
    here = world("impressions")
    late = f"late-{here.name}"
    here.sources["impressions"] = replace(here.sources["impressions"], topic=late)
    (here.folder / "a.jsonl").write_bytes(lines(1, 2))
    with Router(here.sources, here.folder, here.settings()) as router:
        (first,) = router.route()
        assert (first.outcome, first.error) == ("no topic", f"the broker has no topic {late}; create it")
        assert router.route() == [], "it is not told again"
        new_topic(kafka.bootstrap, late, 2)
        (second,) = router.route()
        assert (second.outcome, second.rows) == ("routed", 2)
    assert len(here.seen("impressions")) == 2


def test_the_command_routes_tells_and_shows(
    world: Callable[..., World], registry: RegistryServer, tmp_path: Path
) -> None:
    here = world("impressions")
    own = tmp_path / "sources"
    own.mkdir()
    (own / "impressions.yml").write_text(f"topic: {here.topic('impressions')}\n")
    (own / "bid_requests.yml").write_text("topic: nobody.made.this\n")
    environment = {
        "KAFKA__BOOTSTRAP_SERVERS": here.bootstrap,
        "ROUTER__PROGRESS_TOPIC": f"routed-{here.name}",
        "LANDING__SOURCES": str(own),
        **environment_with(registry),
    }
    (here.folder / "a.jsonl").write_bytes(lines(1, 2))
    (here.folder / "b.jsonl.gz").write_bytes(b"\x1f\x8b")
    container(here.folder / "c.avro", [bid(1)])
    done = cli(tmp_path, "route", "drop", **environment)
    assert done.returncode == 1, done.stderr
    assert "the broker has no topic nobody.made.this" in " ".join(done.stdout.split())
    shown = cli(tmp_path, "route", "--status", **environment)
    assert shown.returncode == 0
    assert {"routed", "broken", "unclaimed"} <= set(shown.stdout.replace("│", " ").split())
    refused = cli(tmp_path, "route", "drop", DROP_FOLDER=str(here.folder), **environment)
    assert refused.returncode == 2
    assert "would come twice" in refused.stderr
    assert json.loads(here.seen("impressions")[0].value or b"")["user_id"] in ("u1", "u2")


def test_the_service_routes_files_as_they_come_until_it_is_told_to_stop(
    world: Callable[..., World], tmp_path: Path
) -> None:
    here = world("impressions")
    own = tmp_path / "sources"
    own.mkdir()
    (own / "impressions.yml").write_text(f"topic: {here.topic('impressions')}\n")
    environment = {
        "KAFKA__BOOTSTRAP_SERVERS": here.bootstrap,
        "LANDING__SETTLE_SECONDS": "0",
        "LANDING__SOURCES": str(own),
        "ROUTER__FOLDER": str(here.folder),
        "ROUTER__POLL_SECONDS": "0.1",
        "ROUTER__PROGRESS_TOPIC": f"routed-{here.name}",
    }
    (here.folder / "bad.jsonl.gz").write_bytes(b"\x1f\x8b")
    service = subprocess.Popen(
        [sys.executable, "-m", "ad_lakehouse", "route", "--follow"],
        env=os.environ | {f"AD_LAKEHOUSE_{name}": value for name, value in environment.items()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdout.readline().startswith("Routing ")
    assert service.stdout.readline().startswith("bad.jsonl.gz: broken, 0 rows: ")
    for number in range(3):
        (here.folder / ".new").write_bytes(lines(number))
        (here.folder / ".new").rename(here.folder / f"{number}.jsonl")
        assert service.stdout.readline() == f"{number}.jsonl: routed, 1 rows\n"
    service.terminate()
    assert service.communicate(timeout=30)[0] == ""
    assert service.returncode == 0
    assert len(here.seen("impressions")) == 3
