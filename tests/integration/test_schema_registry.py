"""Landing with a real schema registry: ids it gave, ids it does not know, its death, its password.

Belongs here: what landing asks the registry. Not here: writers that change (test_schema_evolution.py), registering our
own schemas (test_schema_subjects.py), a registry that answers oddly (tests/unit/test_registry_api.py).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from avro_writers import BID_TYPES, BIDS, TIME, bid, bids_from, environment_with, framed, settings_with, writer
from command_line import cli
from landing_service import followed, health, service
from landing_topics import (
    IMPRESSIONS,
    committed_records,
    impressions_from,
    landed_records,
    publish,
    rows,
    settings_for,
    wait_until,
)
from registry_server import RegistryServer

from ad_lakehouse.lake import Lake
from kafka_sinks.sink import land_topic

pytestmark = pytest.mark.kafka
OLDER = writer(BID_TYPES)
NEWER = writer({**BID_TYPES, "site": ["null", "string"], "seat": "string"})


@pytest.fixture
def subject(topic: str) -> str:
    return f"{topic}-value"


@pytest.fixture
def mortal(registry: RegistryServer) -> Iterator[RegistryServer]:
    """The registry for a test that kills it."""
    yield registry
    if not registry.answers():
        registry.start()


@pytest.fixture
def folder(tmp_path: Path, topic: str) -> Path:
    """Where a command runs: its sources land bid requests from the test's topic."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "bid_requests.yml").write_text(f"topic: {topic}\n")
    return tmp_path


def test_records_land_by_the_ids_that_the_registry_gave(
    kafka, lake: Lake, registry: RegistryServer, topic: str, subject: str
) -> None:
    older, newer = registry.register(subject, OLDER), registry.register(subject, NEWER)
    assert older != newer
    publish(kafka.bootstrap, topic, [framed(older, OLDER, bid(n)) for n in range(20)])
    publish(kafka.bootstrap, topic, [framed(newer, NEWER, bid(n, site="a.example", seat="s")) for n in range(20, 30)])
    report = land_topic(lake, bids_from(topic), settings_with(registry, settings_for(kafka.bootstrap)))
    assert (report.records, dict(report.rejected)) == (30, {})
    assert landed_records(lake, topic, BIDS) == committed_records(kafka.bootstrap, topic)
    found = rows(lake, "cast(user_id[2:] as int), site, _rescued", BIDS)
    assert found == [(n, None, None) for n in range(20)] + [(n, "a.example", '{"seat":"s"}') for n in range(20, 30)]


def test_a_schema_that_refers_to_other_subjects_is_read_with_them(
    kafka, lake: Lake, registry: RegistryServer, topic: str, subject: str
) -> None:
    unit = {"type": "enum", "name": "Unit", "namespace": "shop", "symbols": ["EUR", "USD"]}
    price = {
        "type": "record",
        "name": "Price",
        "namespace": "shop",
        "fields": [{"name": "amount", "type": "long"}, {"name": "unit", "type": "shop.Unit"}],
    }
    registry.register(f"{subject}-unit", unit)
    to_unit = {"name": "shop.Unit", "subject": f"{subject}-unit", "version": 1}
    registry.register(f"{subject}-price", price, [to_unit])
    schema = writer({**BID_TYPES, "price": "shop.Price"})
    references = [{"name": "shop.Price", "subject": f"{subject}-price", "version": 1}, to_unit]
    known = registry.register(subject, schema, references)
    whole = writer({**BID_TYPES, "price": {**price, "fields": [price["fields"][0], {"name": "unit", "type": unit}]}})
    sold = [framed(known, whole, bid(n, price={"amount": n, "unit": "USD"})) for n in range(5)]
    publish(kafka.bootstrap, topic, sold)
    report = land_topic(lake, bids_from(topic), settings_with(registry, settings_for(kafka.bootstrap)))
    assert (report.records, dict(report.rejected)) == (5, {})
    rescued = [each for (each,) in rows(lake, "_rescued", BIDS)]
    assert sorted(rescued) == [f'{{"price":{{"amount":{n},"unit":"USD"}}}}' for n in range(5)]


def test_impressions_may_come_as_avro_too(
    kafka, lake: Lake, registry: RegistryServer, topic: str, subject: str
) -> None:
    schema = writer({"event_ts": TIME, "creative_id": "string", "user_id": "string", "site": "string"})
    record = {"event_ts": datetime.now(UTC), "creative_id": "c1", "user_id": "u1", "site": "a.example"}
    publish(kafka.bootstrap, topic, [framed(registry.register(subject, schema), schema, record)] * 4)
    source = replace(impressions_from(topic), wire="avro")
    report = land_topic(lake, source, settings_with(registry, settings_for(kafka.bootstrap)))
    assert (report.records, dict(report.rejected)) == (4, {})
    assert set(rows(lake, "creative_id, site, event_ts", IMPRESSIONS)) == {("c1", "a.example", record["event_ts"])}


def test_a_registry_that_is_killed_is_waited_for_and_loses_nothing(
    kafka, lake: Lake, mortal: RegistryServer, topic: str, subject: str
) -> None:
    older, newer = mortal.register(subject, OLDER), mortal.register(subject, NEWER)
    settings = settings_with(mortal, followed(kafka.bootstrap))

    def landed(count: int) -> bool:
        return lake.open_if_exists(BIDS) is not None and landed_records(lake, topic, BIDS).total() == count

    with service(lake, settings, bids_from(topic)) as running:
        publish(kafka.bootstrap, topic, [framed(older, OLDER, bid(n)) for n in range(20)])
        wait_until(lambda: landed(20), 60)
        mortal.kill()
        publish(kafka.bootstrap, topic, [framed(older, OLDER, bid(n)) for n in range(20, 30)])
        wait_until(lambda: landed(30))
        publish(kafka.bootstrap, topic, [framed(newer, NEWER, bid(n, site=None, seat="s")) for n in range(30, 40)])
        wait_until(lambda: health(running.port)[0] == 503, 30)
        told = health(running.port)[1]["sources"]["bid_requests"]
        assert (told["phase"], landed(30)) == ("waiting", True)
        assert f"Schema registry {mortal.url} can't be asked: ConnectionError" in told["problems"][0]
        mortal.start()
        wait_until(lambda: landed(40), 60)
        wait_until(lambda: health(running.port)[0] == 200)
    assert landed_records(lake, topic, BIDS) == committed_records(kafka.bootstrap, topic)
    assert {reason for (reason,) in rows(lake, "_reason", BIDS)} == {None}


def test_an_unknown_id_is_quarantined_and_replayed_when_its_schema_is_registered(
    kafka, registry: RegistryServer, folder: Path, topic: str, subject: str
) -> None:
    known = registry.register(subject, writer(BID_TYPES, topic.replace("-", "_")))
    schema = writer({**BID_TYPES, topic.replace("-", "_"): "string"})
    coming = [framed(known + 1, schema, bid(n, **{topic.replace("-", "_"): "x"})) for n in range(6)]
    garbage = [b"\0" + number.to_bytes(4, "big") + b"x" for number in (0, 2**31 - 1, 2**31, 2**32 - 1)]
    publish(kafka.bootstrap, topic, coming + garbage)
    lake, environment = Lake(str(folder / "lake")), environment_with(registry)
    replay = ("quarantine", "replay", "--reason", "unknown_schema")
    landed = cli(
        folder, "land", "--source", "bid_requests",
        KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap, LANDING__SOURCES="sources", **environment,
    )  # fmt: skip
    assert landed.returncode == 0, landed.stderr
    listed = cli(folder, "quarantine", "list")
    assert f"unknown_schema: the registry has no schema {known + 1}" in listed.stdout
    assert "0 accepted now, 10 still rejected" in cli(folder, *replay, **environment).stdout
    assert registry.register(subject, schema) == known + 1, "the registry gave another id than the next one"
    replayed = cli(folder, *replay, **environment)
    assert "6 accepted now, 4 still rejected unknown_schema 4" in replayed.stdout, replayed.stderr
    assert rows(lake, "user_id", BIDS, "_reason is null") == [(f"u{n}",) for n in range(6)]
    assert landed_records(lake, topic, BIDS) == committed_records(kafka.bootstrap, topic)


def test_passwords_are_told_by_setting_or_url_and_shown_nowhere(
    kafka, registry: RegistryServer, folder: Path, topic: str, subject: str
) -> None:
    publish(kafka.bootstrap, topic, [framed(registry.register(subject, OLDER), OLDER, bid(1))])
    user, _, password = registry.auth.partition(":")
    land = ("land", "--source", "bid_requests")
    kafka_settings = {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "LANDING__SOURCES": "sources"}
    wrong_url = registry.url.replace("://", f"://{user}:wr0ng-secret@")
    right_url = registry.url.replace("://", f"://{user}:{password.replace(':', '%3A')}@")
    for given in (
        {"KAFKA__SCHEMA_REGISTRY": wrong_url},
        {"KAFKA__SCHEMA_REGISTRY": right_url, "KAFKA__SCHEMA_REGISTRY_AUTH": f"{user}:wr0ng-secret"},
        {"KAFKA__SCHEMA_REGISTRY": registry.url},
    ):
        refused = cli(folder, *land, **kafka_settings, **given)
        assert refused.returncode == 28, refused.stderr
        assert f"Schema registry {registry.url} can't be asked: HTTP 401" in refused.stderr
        assert "wr0ng" not in refused.stdout + refused.stderr
        assert password not in refused.stdout + refused.stderr
    done = cli(folder, *land, **kafka_settings, KAFKA__SCHEMA_REGISTRY=right_url)
    assert done.returncode == 0, done.stderr
    assert landed_records(Lake(str(folder / "lake")), topic, BIDS).total() == 1


@pytest.mark.parametrize(
    ("location", "code", "words"),
    [
        ("mock://test", 2, "schemas can't be read from mock://"),
        ("{root}/apis/ccompat", 28, "HTTP 404, but not as a schema registry answers"),
        ("{root}/ui", 28, "but not as a schema registry answers"),
    ],
)
def test_what_is_no_registry_stops_the_landing_and_rejects_nothing(
    kafka, registry: RegistryServer, folder: Path, topic: str, subject: str, location: str, code: int, words: str
) -> None:
    publish(kafka.bootstrap, topic, [framed(registry.register(subject, OLDER), OLDER, bid(1))])
    done = cli(
        folder, "land", "--source", "bid_requests",
        KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap, LANDING__SOURCES="sources",
        KAFKA__SCHEMA_REGISTRY=location.format(root=registry.url.removesuffix("/apis/ccompat/v7")),
        KAFKA__SCHEMA_REGISTRY_AUTH=registry.auth,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert landed_records(Lake(str(folder / "lake")), topic, BIDS).total() == 0
