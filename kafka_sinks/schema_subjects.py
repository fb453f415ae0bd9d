"""Our sources' schemas as subjects of a schema registry: compared with what is there, and registered.

Belongs here: which subject is a source's, what differs, the order of a registration. Not here: HTTP
(decode/registry_api.py), writers' schemas by their id (decode/registry.py), the command (ad_lakehouse/cli_schemas.py).

A subject is `<topic>-value` (Confluent's TopicNameStrategy). Whether a change is compatible is the registry's word, by
the subject's level and against all versions that the level names; what differs is found here, since not every registry
says it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.decode.registry_api import SETTING, Answer, RegistryApi
from kafka_sinks.sources import Source

CONFLICT = 409
LONGEST_MESSAGE = 300


class SchemaIncompatible(LakehouseError):
    """A source's schema can't read what its topic's registered writers wrote, by the level of its subject."""

    exit_code = 36


class Compatibility(StrEnum):
    """What a subject's next version must be able to do."""

    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"
    NONE = "NONE"


class State(StrEnum):
    """How a source's schema stands to its subject."""

    NEW = "not registered"
    SAME = "same"
    COMPATIBLE = "compatible change"
    INCOMPATIBLE = "incompatible change"
    PUSHED = "registered now"
    MAPPED = "left out"


@dataclass(frozen=True)
class Subject:
    """A source's subject. `version` is the registered one that was compared; `level` its compatibility, if any."""

    source: str
    name: str
    state: State
    version: int | None = None
    level: str = ""
    differences: tuple[str, ...] = ()


def open_registry_api(settings: KafkaSettings) -> RegistryApi:
    """The registry of the settings. Raises `ConfigurationError` when it is none that can be written to."""
    location = settings.schema_registry
    if not location.lower().startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{SETTING} is {'no URL of a registry' if location else 'empty'}.",
            remedy="Set it to the URL of a schema registry, for example http://registry:8081.",
        )
    return RegistryApi(location, settings.schema_registry_auth)


def with_subjects(sources: Iterable[Source], *, every: bool = False) -> list[Source]:
    """The sources that have a subject: those whose topic holds Avro; with `every` all that have a topic.

    Raises `ConfigurationError` when two of them would register different schemas under one subject.
    """
    chosen = [source for source in sources if source.topic and (every or source.wire == "avro")]
    owners: dict[str, Source] = {}
    for source in chosen:
        other = owners.setdefault(subject_name(source), source)
        if other.schema != source.schema:
            raise ConfigurationError(
                f"Sources {other.name} and {source.name} have one topic, {source.topic}, and different schemas.",
                remedy="Only one of them can be its schema: choose with --source.",
            )
    return chosen


def subject_name(source: Source) -> str:
    return f"{source.topic}-value"


def check(api: RegistryApi, source: Source) -> Subject:
    """Compares without changing anything. Raises `RegistryUnavailable`, `ConfigurationError`."""
    subject, body = Subject(source.name, subject_name(source), State.NEW), _body(source)
    if source.mapping:
        return replace(
            subject, state=State.MAPPED, differences=("its fields are mapped: the topic's records have other names",)
        )
    path = f"/subjects/{quote(subject.name, safe='')}"
    found = _accepted(api.ask(path, "POST", body), source)
    if found.code == 40401:
        return subject
    level = api.ask(f"/config/{quote(subject.name, safe='')}?defaultToGlobal=true").body.get("compatibilityLevel", "")
    if not found.code:
        return replace(subject, state=State.SAME, version=int(found.body["version"]), level=level)
    latest = _accepted(api.ask(f"{path}/versions/latest"), source).body
    judged = _accepted(api.ask(f"/compatibility{path}/versions?verbose=true", "POST", body), source).body
    return replace(
        subject,
        state=State.COMPATIBLE if judged.get("is_compatible") else State.INCOMPATIBLE,
        version=latest.get("version"),
        level=level,
        differences=(*differences(latest.get("schema", ""), source.schema), *_told(judged.get("messages", ()))),
    )


def push(api: RegistryApi, source: Source, level: Compatibility | None = None) -> Subject:
    """Registers the schema unless it is there or incompatible. Doing it again changes nothing.

    A new subject gets the level BACKWARD_TRANSITIVE, or `level`; one that is there keeps its own unless `level` is
    given, which then holds for this registration too. Raises `RegistryUnavailable`, `ConfigurationError`.
    """
    found = check(api, source)
    if found.state is State.MAPPED:
        return found
    wanted = level or (Compatibility.BACKWARD_TRANSITIVE if found.state is State.NEW else None)
    if wanted is not None and wanted != found.level:
        # Before the schema: when this is cut off between the two, the subject is still new for the next one
        answer = api.ask(f"/config/{quote(found.name, safe='')}", "PUT", {"compatibility": wanted.value})
        _accepted(answer, source)
        found = check(api, source) if found.state is not State.NEW else replace(found, level=wanted.value)
    # Apicurio judges as if by BACKWARD where the level is NONE, but then takes the schema
    if found.state is State.SAME or (found.state is State.INCOMPATIBLE and level is not Compatibility.NONE):
        return found
    path = f"/subjects/{quote(found.name, safe='')}"
    answer = api.ask(f"{path}/versions", "POST", _body(source))
    if answer.code == CONFLICT:
        told = (*found.differences, *_told([answer.message]))
        return replace(found, state=State.INCOMPATIBLE, differences=told)
    _accepted(answer, source)
    version = _accepted(api.ask(path, "POST", _body(source)), source).body["version"]
    return replace(found, state=State.PUSHED, version=int(version))


def raise_if_incompatible(subjects: Sequence[Subject]) -> None:
    """Raises `SchemaIncompatible` naming those that are."""
    bad = [each.name for each in subjects if each.state is State.INCOMPATIBLE]
    if bad:
        raise SchemaIncompatible(
            f"{', '.join(bad)}: an incompatible change, nothing was registered of it.",
            remedy="Give an added field a default, and a field of another type another name; or register it under "
            "another level: ad-lakehouse schemas push --compatibility NONE.",
        )


def differences(registered: str, ours: Mapping[str, Any]) -> tuple[str, ...]:
    """What is different in our schema from a registered one, a sentence each."""
    try:
        theirs = json.loads(registered)
    except ValueError:
        theirs = None
    if not isinstance(theirs, dict) or not isinstance(theirs.get("fields"), list):
        return ("what is registered is no Avro record",)
    told = [
        f"{name}: {_shown(theirs.get(name))} → {_shown(ours.get(name))}"
        for name in ("name", "namespace")
        if theirs.get(name) != ours.get(name)
    ]
    before = {field["name"]: field for field in theirs["fields"]}
    after = {field["name"]: field for field in ours["fields"]}
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before:
            told.append(f"{name}: added, {'with a default' if 'default' in after[name] else 'without default'}")
        elif name not in after:
            told.append(f"{name}: removed")
        else:
            told += [
                f"{name}: {part} {_shown(before[name].get(part))} → {_shown(after[name].get(part))}"
                for part in ("type", "default", "aliases")
                if before[name].get(part) != after[name].get(part) or (part in before[name]) != (part in after[name])
            ]
    return tuple(told) or ("descriptions or the order of fields only",)


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _body(source: Source) -> dict[str, str]:
    return {"schema": json.dumps(source.schema, ensure_ascii=False), "schemaType": "AVRO"}


def _told(messages: Iterable[str]) -> tuple[str, ...]:
    """The registry's own words; Confluent's repeats the whole old schema among them."""
    return tuple(str(each)[:LONGEST_MESSAGE] for each in messages if not str(each).startswith("{oldSchema:"))


def _accepted(answer: Answer, source: Source) -> Answer:
    """The answer, unless the registry refuses the schema or the level itself."""
    if answer.code and not answer.is_absent:
        raise ConfigurationError(
            f"The schema registry refuses source {source.name}: {answer.message[:LONGEST_MESSAGE]}.",
            remedy="Correct its schema, or ask those who run the registry.",
        )
    return answer
