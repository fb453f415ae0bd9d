"""Brings the worker's connectors to what our files say.

Belongs here: planning (asks, changes nothing), then changing. Not here: the comparison (differences.py).

A connector that is on the worker and in none of our files is left alone: others may use the worker too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ad_lakehouse.connect.connectors import CLASS, Connector, wrong
from ad_lakehouse.connect.differences import REFERENCE, SECRET, Difference, differences
from ad_lakehouse.connect.rest import ConnectApi, connector_path


@dataclass(frozen=True)
class Change:
    """What is to be done for one connector: nothing when there are no differences."""

    connector: Connector
    is_new: bool
    differences: tuple[Difference, ...]


def plan(api: ConnectApi, connectors: Iterable[Connector]) -> list[Change]:
    """Compares each connector, and lets the worker validate those that differ.

    Raises `ConfigurationError` for the first field the worker refuses, so that none is changed when one is wrong.
    """
    planned = []
    for each in connectors:
        answer = api.ask(connector_path(each.name, "/config"))
        now = None if answer.absent else answer.body
        secrets: set[str] = set()
        if differences(now, each.config):
            secrets = validated(api, each)
        planned.append(Change(each, now is None, tuple(differences(now, each.config, secrets))))
    return planned


def validated(api: ConnectApi, connector: Connector) -> set[str]:
    """The fields that the worker calls passwords. Raises `ConfigurationError` with file and field.

    Nothing else of its answer is used: it holds the values of references, resolved.
    """
    kind = quote(connector.config[CLASS], safe="")
    path = f"/connector-plugins/{kind}/config/validate"
    answer = api.ask(path, "PUT", {**connector.config, "name": connector.name})
    if answer.absent or answer.refusal:
        plugins = ", ".join(sorted(each["class"] for each in api.ask("/connector-plugins").body))
        raise wrong(
            connector.path, f"config.{CLASS}", "is not one the worker has", f"It has {plugins}; see its plugin.path."
        )
    fields = answer.body["configs"]
    secrets = {each["definition"]["name"] for each in fields if each["definition"]["type"] == "PASSWORD"}
    for each in fields:
        if each["value"]["errors"]:
            name = each["value"]["name"]
            raise wrong(
                connector.path, f"config.{name}", f"is refused by the worker: {reason(connector, each, secrets)}",
                "Nothing was changed. Correct it.",
            )  # fmt: skip
    return secrets


def reason(connector: Connector, field: dict[str, Any], secrets: set[str]) -> str:
    """Why the worker refuses a field, in its own words unless these may hold a secret or a resolved reference."""
    name = field["value"]["name"]
    if name in secrets or SECRET.search(name) or REFERENCE.search(connector.config.get(name, "")):
        return "the value is not allowed (not shown, it comes from a secret or the worker's environment)"
    return str(field["value"]["errors"][0]).splitlines()[0].rstrip(".")


def change(api: ConnectApi, wanted: Change) -> None:
    """Creates or changes the connector. Raises `ConfigurationError` when the worker refuses it after all."""
    connector = wanted.connector
    answer = api.ask(connector_path(connector.name, "/config"), "PUT", connector.config)
    if answer.refusal:
        raise wrong(connector.path, "config", "is refused by the worker", "Its log says why.")


def remove(api: ConnectApi, name: str) -> bool:
    """Takes a connector off the worker; False when it was not there. Its position stays with the workers' group."""
    return not api.ask(connector_path(name), "DELETE").absent
