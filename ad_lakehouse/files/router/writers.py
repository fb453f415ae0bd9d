"""The id of a file's Avro schema in the registry, where it is registered when it is new.

Belongs here: looking up, registering. Not here: HTTP (kafka_sinks/decode/registry_api.py), our own schemas
(kafka_sinks/schema_subjects.py).

A file's writer is one of the topic's writers: its schema goes under `<topic>-value`, and the registry judges it by the
level of that subject. What it refuses is not sent.
"""

from urllib.parse import quote

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import KafkaSettings
from kafka_sinks.decode.registry_api import RegistryApi
from kafka_sinks.schema_subjects import LONGEST_MESSAGE, open_registry_api


class SchemaNotTaken(LakehouseError):
    """The registry refuses a file's schema; told of the file, which is broken for its topic."""


class Writers:
    """The schemas of the files of one run; each is asked for once."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._api: RegistryApi | None = None
        self._known: dict[tuple[str, str], int] = {}

    def id_of(self, topic: str, schema: str) -> int:
        """Raises `SchemaNotTaken`, `RegistryUnavailable`; `ConfigurationError` when no registry is set."""
        if (topic, schema) not in self._known:
            self._api = self._api or open_registry_api(self._settings)
            self._known[topic, schema] = registered(self._api, f"{topic}-value", schema)
        return self._known[topic, schema]


def registered(api: RegistryApi, subject: str, schema: str) -> int:
    """The id of the schema under its subject. Doing it again changes nothing."""
    path, body = f"/subjects/{quote(subject, safe='')}", {"schema": schema, "schemaType": "AVRO"}
    answer = api.ask(path, "POST", body)
    if answer.is_absent:
        answer = api.ask(f"{path}/versions", "POST", body)
    if answer.code:
        raise SchemaNotTaken(
            f"The schema registry refuses the file's schema for {subject}: {answer.message[:LONGEST_MESSAGE]}.",
            remedy="Write the file with a schema that the subject's level allows, or change the level.",
        )
    return int(answer.body["id"])
