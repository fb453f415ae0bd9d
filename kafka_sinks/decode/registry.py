"""Writers' schemas by their id: a folder of `<id>.avsc` files, or a registry with Confluent's API.

Belongs here: finding and keeping them. Not here: what may be decoded with them (avro_schema.py).

A registry that can't be asked stops the landing; it never rejects records, which would be wrong for good.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests

from ad_lakehouse.errors import LakehouseError

TIMEOUT_SECONDS = 5.0
ATTEMPTS = 3
UNKNOWN_KEPT_SECONDS = 60.0  # a schema may be registered any moment
UNKNOWN_ASKED = 200  # ids of garbage are random: no more unknown ones than this are asked for in that time


class RegistryUnavailable(LakehouseError):
    """The schema registry does not answer, or none is set."""

    exit_code = 28


class SchemaRegistry(Protocol):
    """Gives the text of a schema; None when the registry has none of that id."""

    def schema(self, schema_id: int) -> str | None: ...


def open_registry(location: str) -> SchemaRegistry | None:
    """The registry at a URL or folder; None for an empty location."""
    if not location:
        return None
    if location.startswith(("http://", "https://")):
        return HttpRegistry(location)
    return FolderRegistry(Path(location.removeprefix("file://")))


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
        raise RegistryUnavailable(
            f"Schema folder {self.folder}: {problem}.", remedy="Correct AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY."
        )


class HttpRegistry:
    """A registry with Confluent's API (Confluent, Apicurio, Karapace). What it gave is kept: ids never change."""

    def __init__(self, url: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._url, self._wait = url.rstrip("/"), wait
        self._known: dict[int, str] = {}
        self._unknown: dict[int, float] = {}
        self._session = requests.Session()

    def schema(self, schema_id: int) -> str | None:
        """Raises `RegistryUnavailable` after some attempts."""
        if schema_id in self._known:
            return self._known[schema_id]
        now = time.monotonic()
        self._unknown = {each: since for each, since in self._unknown.items() if now - since < UNKNOWN_KEPT_SECONDS}
        if schema_id in self._unknown or len(self._unknown) >= UNKNOWN_ASKED:
            return None
        answer = self._ask(f"{self._url}/schemas/ids/{schema_id}")
        if answer is None:
            self._unknown[schema_id] = now
            return None
        self._known[schema_id] = answer
        return answer

    def _ask(self, url: str) -> str | None:
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(0.2 * 4**attempt)
            try:
                response = self._session.get(url, timeout=TIMEOUT_SECONDS)
            except requests.RequestException as error:
                problem = type(error).__name__
                continue
            if response.status_code == requests.codes.not_found:
                return None
            if response.ok:
                text = self._text(response)
                if text is not None:
                    return text
                problem = "the answer is no Avro schema"
                break
            problem = f"HTTP {response.status_code}"
            if response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
                break
        raise RegistryUnavailable(
            f"Schema registry {self._url} can't be asked: {problem}.",
            remedy="Nothing was landed of this batch. Correct AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY or wait for it.",
        )

    @staticmethod
    def _text(response: requests.Response) -> str | None:
        try:
            body: Any = response.json()
        except ValueError:
            return None
        text = body.get("schema") if isinstance(body, dict) else None
        return text if isinstance(text, str) else None
