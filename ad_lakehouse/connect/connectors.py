"""Connector files: one JSON object {"name": …, "config": {…}} each, as Kafka Connect's own REST interface takes it.

Belongs here: reading and validating them before any worker is asked. Not here: what a connector's own fields mean,
which its worker knows (apply.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import PREFIX

CLASS = "connector.class"


@dataclass(frozen=True)
class Connector:
    """A connector as it should be. Values are as written: `${env:NAME}` and `${file:…}` are resolved by the worker."""

    name: str
    config: Mapping[str, str]
    path: Path


class _Twice(ValueError):
    """A field is in an object two times."""


def load_connectors(folder: Path) -> list[Connector]:
    """Every `*.json` of the folder, by name. Raises `ConfigurationError` with the file and the field."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise ConfigurationError(
            f"{folder}: {'no *.json is in it' if folder.is_dir() else 'is no folder'}.",
            remedy=f"Set {PREFIX}CONNECT__CONNECTORS to the folder of connector files.",
        )
    return [load_connector(path) for path in files]


def load_connector(path: Path) -> Connector:
    """One file. Raises `ConfigurationError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except _Twice as error:
        raise wrong(path, str(error), "is there twice", "Keep one.") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: not JSON: {error.msg}.", remedy="Correct it.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8.", remedy="Save it as UTF-8.") from None
    if not isinstance(content, dict):
        raise wrong(path, "file", "is no JSON object", 'Write {"name": …, "config": {…}}.')
    for field in content.keys() - {"name", "config"}:
        raise wrong(path, field, "is no field here", "Use name and config; what the connector takes goes into config.")
    for field in ("name", "config"):
        if field not in content:
            raise wrong(path, field, "is missing", "Add it.")
    if content["name"] != path.stem:
        raise wrong(path, "name", f"is not {path.stem!r}", "Give file and connector one name.")
    return Connector(path.stem, _config(path, content["config"]), path)


def _config(path: Path, config: Any) -> dict[str, str]:
    if not isinstance(config, dict):
        raise wrong(path, "config", "is no JSON object", "Write field: value, as the connector's documentation says.")
    if not isinstance(config.get(CLASS), str) or not config[CLASS]:
        raise wrong(path, f"config.{CLASS}", "is missing", "Name the connector's Java class.")
    if config.get("name", path.stem) != path.stem:
        raise wrong(path, "config.name", f"is not {path.stem!r}", "Leave it out.")
    found = {}
    for field, value in config.items():
        if isinstance(value, dict | list) or value is None:
            raise wrong(path, f"config.{field}", "is no text, number, true or false", "Write it as text.")
        found[field] = value if isinstance(value, str) else json.dumps(value)
    return {field: value for field, value in found.items() if field != "name"}


def wrong(path: Path, field: str, problem: str, remedy: str) -> ConfigurationError:
    """`file: field problem.`; values are not shown, they may be secrets."""
    return ConfigurationError(f"{path}: {field} {problem}.", remedy=remedy)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in pairs:
        if field in found:
            raise _Twice(field)
        found[field] = value
    return found
