"""Writers' schemas by their id: a folder of `<id>.avsc` files, or a registry with Confluent's API.

Belongs here: finding and keeping them. Not here: what may be decoded with them (avro_schema.py).

A registry that can't be asked stops the landing; it never rejects records, which would be wrong for good.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from pydantic import SecretStr

from ad_lakehouse.errors import ConfigurationError
from kafka_sinks.decode.avro_schema import with_types
from kafka_sinks.decode.registry_api import SETTING, RegistryApi, RegistryUnavailable

UNKNOWN_KEPT_SECONDS = 60.0  # a schema may be registered any moment
UNKNOWN_ASKED = 200  # ids of garbage are random: no more unknown ones than this are asked for in that time
MOST_REFERENCES = 100  # schemas of other subjects that one schema needs
LARGEST_ID = 2**31 - 1  # Confluent's ids are Java ints; asked for a larger one it says that it has no such path


class SchemaRegistry(Protocol):
    """Gives the text of a schema; None when the registry has none of that id."""

    def schema(self, schema_id: int) -> str | None: ...


def open_registry(location: str, auth: SecretStr | None = None) -> SchemaRegistry | None:
    """The registry at a URL or folder; None for an empty location. Raises `ConfigurationError`."""
    scheme, is_url, _ = location.lower().partition("://")
    if not location:
        return None
    if is_url and scheme in ("http", "https"):
        return HttpRegistry(location, auth)
    if is_url and scheme != "file":
        raise ConfigurationError(
            f"{SETTING}: schemas can't be read from {scheme}://.",
            remedy="Name a registry by http:// or https://, or a folder of <id>.avsc files, also as file://.",
        )
    return FolderRegistry(Path(location[len("file://") :] if is_url else location))


@dataclass(frozen=True)
class FolderRegistry:
    """A folder of `<id>.avsc` files."""

    folder: Path

    def schema(self, schema_id: int) -> str | None:
        """Raises `RegistryUnavailable` when the folder or a file in it can't be read."""
        try:
            return (self.folder / f"{schema_id}.avsc").read_text(encoding="utf-8")
        except FileNotFoundError:
            if self.folder.is_dir():
                return None
            problem = "there is no such folder"
        except (OSError, UnicodeDecodeError) as error:
            problem = str(error)
        raise RegistryUnavailable(f"Schema folder {self.folder}: {problem}.", remedy=f"Correct {SETTING}.")


class HttpRegistry:
    """A registry with Confluent's API. What it gave is kept: ids never change."""

    def __init__(self, url: str, auth: SecretStr | None = None, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._api = RegistryApi(url, auth, wait)
        self._known: dict[int, str] = {}
        self._unknown: dict[int, float] = {}

    def schema(self, schema_id: int) -> str | None:
        """Raises `RegistryUnavailable` after some attempts."""
        if schema_id in self._known:
            return self._known[schema_id]
        now = time.monotonic()
        self._unknown = {each: since for each, since in self._unknown.items() if now - since < UNKNOWN_KEPT_SECONDS}
        if schema_id in self._unknown or len(self._unknown) >= UNKNOWN_ASKED or schema_id > LARGEST_ID:
            return None
        answer = self._api.ask(f"/schemas/ids/{schema_id}")
        if answer.is_absent:
            self._unknown[schema_id] = now
            return None
        text = answer.body.get("schema") if isinstance(answer.body, dict) else None
        if not isinstance(text, str):
            raise self._api.unavailable("the answer is no schema")
        self._known[schema_id] = with_types(self._types(answer.body.get("references") or []), text)
        return self._known[schema_id]

    def _types(self, references: list[Mapping[str, Any]]) -> list[str]:
        """The schemas that one refers to, each behind those it refers to itself.

        What is missing, or beyond `MOST_REFERENCES`, is left out: the schema that needs it is then refused.
        """
        found: dict[str, str] = {}
        asked: set[str] = set()

        def add(references: list[Mapping[str, Any]]) -> None:
            for each in references:
                path = f"/subjects/{quote(str(each.get('subject')), safe='')}/versions/{each.get('version')}"
                if path in asked or len(asked) >= MOST_REFERENCES:
                    continue
                asked.add(path)
                answer = self._api.ask(path)
                if not answer.is_absent and isinstance(answer.body, dict):
                    add(answer.body.get("references") or [])
                    found[path] = str(answer.body.get("schema"))

        add(references)
        return list(found.values())
