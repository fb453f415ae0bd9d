"""`ad-lakehouse schemas check` and `push` with a real registry: what is registered, what is refused, exit codes.

Not here: landing (test_schema_registry.py), which differences are named (tests/unit/test_schema_differences.py).
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from avro_writers import environment_with
from command_line import cli, cli_here
from registry_server import RegistryServer

from kafka_sinks.sources import load_sources

OURS = dict(load_sources()["bid_requests"].schema)
Field = dict[str, Any]


def fields(change: Callable[[list[Field]], list[Field]]) -> dict[str, Any]:
    """Our schema with changed fields."""
    return {**OURS, "fields": change([dict(field) for field in OURS["fields"]])}


def added(**field: Any) -> dict[str, Any]:
    return fields(lambda there: [*there, {"name": "extra", **field}])


def without(name: str) -> dict[str, Any]:
    return fields(lambda there: [field for field in there if field["name"] != name])


def changed(name: str, **parts: Any) -> dict[str, Any]:
    return fields(lambda there: [field | parts if field["name"] == name else field for field in there])


@dataclass(frozen=True)
class Ours:
    """A lake's sources and its registry: bid requests on a topic that no other test has."""

    folder: Path
    registry: RegistryServer
    topic: str

    @property
    def subject(self) -> str:
        return f"{self.topic}-value"

    def has(self, schema: Mapping[str, Any]) -> None:
        """The source's schema is now this one."""
        (self.folder / "sources" / "own.avsc").write_text(json.dumps(schema))

    def run(self, *command: str, **environment: str) -> CompletedProcess[str]:
        return cli_here("schemas", *command, **(self.environment() | environment))

    def environment(self) -> dict[str, str]:
        return {"LANDING__SOURCES": str(self.folder / "sources"), **environment_with(self.registry)}

    def versions(self) -> list[int]:
        return self.registry.versions(self.subject)


@pytest.fixture
def ours(tmp_path: Path, registry: RegistryServer) -> Ours:
    topic = f"bids-{uuid.uuid4().hex[:8]}"
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "bid_requests.yml").write_text(f"topic: {topic}\nschema: own.avsc\n")
    made = Ours(tmp_path, registry, topic)
    made.has(OURS)
    return made


def test_a_schema_that_is_pushed_twice_is_one_version(ours: Ours) -> None:
    before = ours.run("check")
    assert (before.returncode, ours.versions()) == (1, []), before.stderr
    assert "not registered" in before.stdout
    pushed, again, after = ours.run("push"), ours.run("push"), ours.run("check")
    assert (pushed.returncode, again.returncode, after.returncode) == (0, 0, 0), pushed.stderr + again.stderr
    assert [word in done.stdout for done, word in ((pushed, "registered now"), (again, "same"), (after, "same"))] == [
        True
    ] * 3
    assert ours.versions() == [1]
    assert ours.registry.compatibility(ours.subject) == "BACKWARD_TRANSITIVE"
    assert "BACKWARD_TRANSITIVE" in pushed.stdout


def test_the_registered_schema_is_ours_whole(ours: Ours) -> None:
    assert ours.run("push").returncode == 0
    text = ours.registry.session.get(f"{ours.registry.url}/subjects/{ours.subject}/versions/1", timeout=10).json()
    schema = json.loads(text["schema"])
    assert schema == OURS
    assert schema["namespace"] == "ad_lakehouse"
    assert all(field["doc"] for field in schema["fields"])
    assert {"type": "long", "logicalType": "timestamp-micros"} in [field["type"] for field in schema["fields"]]


def test_an_added_optional_field_is_compatible(ours: Ours) -> None:
    assert ours.run("push").returncode == 0
    ours.has(added(type=["null", "long"], default=None))
    checked = ours.run("check")
    assert (checked.returncode, ours.versions()) == (1, [1]), checked.stderr
    assert "compatible change" in checked.stdout
    assert "incompatible" not in checked.stdout
    assert "extra: added, with a default" in checked.stdout
    pushed = ours.run("push")
    assert (pushed.returncode, ours.versions()) == (0, [1, 2]), pushed.stderr
    ours.has(OURS)
    back = ours.run("check")
    assert (back.returncode, "same" in back.stdout) == (0, True), "an earlier version is registered too"


@pytest.mark.parametrize(
    ("schema", "level", "differs"),
    [
        (added(type="long"), None, "extra: added, without default"),
        (changed("user_id", type="long"), None, 'user_id: type "string" → "long"'),
        (changed("won", type=["null", "string"]), None, 'won: type ["null", "boolean"] → ["null", "string"]'),
        (without("auction_id"), "FULL_TRANSITIVE", "auction_id: removed"),
    ],
    ids=["required field added", "type changed", "optional type changed", "required field removed"],
)
def test_an_incompatible_change_is_refused_and_nothing_registered(
    ours: Ours, schema: dict[str, Any], level: str | None, differs: str
) -> None:
    assert ours.run("push", *(["--compatibility", level] if level else [])).returncode == 0
    ours.has(schema)
    for command in ("check", "push"):
        refused = ours.run(command)
        assert refused.returncode == 36, refused.stdout + refused.stderr
        assert f"{ours.subject}: an incompatible change" in refused.stderr
        assert "incompatible change" in refused.stdout
        assert differs in refused.stdout
        assert ours.versions() == [1]


def test_a_change_must_fit_all_versions_not_only_the_latest(ours: Ours) -> None:
    assert ours.run("push").returncode == 0
    ours.has(added(type="long", default=0))
    assert ours.run("push").returncode == 0
    ours.has(added(type="long"))
    for command in ("check", "push"):
        refused = ours.run(command)
        assert (refused.returncode, ours.versions()) == (36, [1, 2]), refused.stdout
        assert "extra: default 0 → none" in refused.stdout


def test_a_subject_that_is_there_keeps_its_level_unless_one_is_given(ours: Ours) -> None:
    ours.registry.register(ours.subject, OURS)
    assert ours.registry.compatibility(ours.subject) == "NONE"
    ours.has(added(type=["null", "long"], default=None))
    assert ours.run("push").returncode == 0
    assert ours.registry.compatibility(ours.subject) == "NONE"
    assert ours.run("push", "--compatibility", "FULL").returncode == 0
    assert ours.registry.compatibility(ours.subject) == "FULL"
    ours.has(changed("user_id", type="long"))
    assert ours.run("push").returncode == 36
    assert ours.versions() == [1, 2]
    forced = ours.run("push", "--compatibility", "NONE")
    assert (forced.returncode, ours.versions()) == (0, [1, 2, 3]), forced.stderr
    wrong = ours.run("push", "--compatibility", "SIDEWAYS")
    assert wrong.returncode == 2
    assert "BACKWARD_TRANSITIVE" in wrong.stderr


def test_an_incompatible_change_is_taken_only_when_it_is_asked_for(ours: Ours) -> None:
    ours.registry.register(ours.subject, OURS)
    assert ours.registry.compatibility(ours.subject) == "NONE", "the registry itself would take anything"
    ours.has(changed("user_id", type="long"))
    assert (ours.run("push").returncode, ours.versions()) == (36, [1])
    assert (ours.run("push", "--compatibility", "NONE").returncode, ours.versions()) == (0, [1, 2])


def test_sources_without_avro_are_left_out_unless_all_are_wanted(ours: Ours) -> None:
    clicks, mapped = f"clicks-{ours.topic}", f"mapped-{ours.topic}"
    (ours.folder / "sources" / "clicks.yml").write_text(f"topic: {clicks}\n")
    (ours.folder / "sources" / "impressions.yml").write_text(f"topic: {mapped}\nmapping: {{user_id: uid}}\n")
    assert ours.run("push").returncode == 0
    assert (ours.versions(), ours.registry.versions(f"{clicks}-value")) == ([1], [])
    done = ours.run("push", "--all")
    assert done.returncode == 0, done.stderr
    assert (ours.registry.versions(f"{clicks}-value"), ours.registry.versions(f"{mapped}-value")) == ([1], [])
    assert "left out" in done.stdout


def test_two_schemas_of_one_topic_are_refused(ours: Ours) -> None:
    (ours.folder / "sources" / "impressions.yml").write_text(f"topic: {ours.topic}\nwire: avro\n")
    refused = ours.run("push")
    assert refused.returncode == 2
    assert f"one topic, {ours.topic}, and different schemas" in refused.stderr
    assert ours.versions() == []
    assert ours.run("push", "--source", "bid_requests").returncode == 0


@pytest.mark.parametrize("command", ["check", "push"])
@pytest.mark.parametrize(
    ("location", "code", "words"),
    [
        ("", 2, "SCHEMA_REGISTRY is empty"),
        ("/schemas", 2, "is no URL of a registry"),
        ("mock://test", 2, "is no URL of a registry"),
    ],
)
def test_without_a_registry_the_error_says_so(ours: Ours, command: str, location: str, code: int, words: str) -> None:
    done = ours.run(command, KAFKA__SCHEMA_REGISTRY=location)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_a_process_ends_with_the_code_of_its_error(ours: Ours) -> None:
    def ended(command: str, **environment: str) -> tuple[int, str]:
        done = cli(ours.folder, "schemas", command, **(ours.environment() | environment))
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert ended("check")[0] == 1
    assert ours.run("push").returncode == 0
    ours.has(added(type="long"))
    assert ended("push")[0] == 36
    code, told = ended("push", KAFKA__SCHEMA_REGISTRY="http://127.0.0.1:1")
    assert code == 28
    assert "Schema registry http://127.0.0.1:1 can't be asked: ConnectionError" in told
