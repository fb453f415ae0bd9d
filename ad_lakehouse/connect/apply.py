"""Brings the worker's connectors to what our files say.

Belongs here: planning (asks, changes nothing), then changing. Not here: the comparison (differences.py).

A connector that is on the worker and in none of our files is left alone: others may use the worker too.
"""

from collections.abc import Iterable, Mapping
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
    """The fields that the worker calls passwords. Raises `ConfigurationError` with file and field."""
    kind = connector.config[CLASS]
    plugins = sorted(each["class"] for each in api.ask("/connector-plugins").body)
    if not any(kind in names_of(each) for each in plugins):
        has = f"It has {', '.join(plugins)}; see its plugin.path."
        raise wrong(connector.path, f"config.{CLASS}", "is not one the worker has", has)
    path = f"/connector-plugins/{quote(kind, safe='')}/config/validate"
    answer = api.ask(path, "PUT", {**connector.config, "name": connector.name})
    if answer.refusal:
        raise wrong(connector.path, "config", "is refused by the worker", "Its log says why.")
    fields = answer.body["configs"]
    secrets = {each["definition"]["name"] for each in fields if each["definition"]["type"] == "PASSWORD"}
    values = {each["value"]["name"]: each["value"]["value"] for each in fields}
    raise_if_refused(connector, [each["value"] for each in fields], secrets, values)
    return secrets


def names_of(plugin: str) -> set[str]:
    """What a worker takes for a class: its whole name, its own name, that without `Connector`."""
    own = plugin.rpartition(".")[2]
    return {plugin, own, own.removesuffix("Connector")}


def raise_if_refused(
    connector: Connector, found: Iterable[Mapping[str, Any]], secrets: set[str], values: Mapping[str, Any]
) -> None:
    """Raises `ConfigurationError` for a field that the worker refuses, in its words without what must not be shown.

    `values` are the worker's: references in them are resolved, and its messages quote them. It has no value of a field
    that is wrong, so of a secret one its words are not used at all; and its view of exactly-once, which repeats what
    is wrong elsewhere, comes last.
    """

    def is_hidden(name: str) -> bool:
        return bool(name in secrets or SECRET.search(name) or REFERENCE.search(connector.config.get(name, "")))

    known = [*values.items(), *connector.config.items()]
    unspeakable = [str(value) for name, value in known if value and is_hidden(name)]
    refused = [each for each in found if each["errors"]]
    for each in sorted(refused, key=lambda one: (not is_hidden(one["name"]), one["name"].startswith("exactly.once."))):
        reason = without(unspeakable, str(each["errors"][0]))
        if is_hidden(each["name"]):
            reason = "its value is not allowed (not shown: a secret, or from the worker's environment)"
        problem = f"is refused by the worker: {reason}"
        raise wrong(connector.path, f"config.{each['name']}", problem, "Nothing was changed. Correct it.")


def without(values: Iterable[str], message: str) -> str:
    """The first line of a message, without these values."""
    for value in sorted(values, key=len, reverse=True):
        message = message.replace(value, "***")
    return message.splitlines()[0].rstrip(".")


def change(api: ConnectApi, wanted: Change) -> None:
    """Creates or changes the connector. Raises `ConfigurationError` when the worker refuses it after all."""
    connector = wanted.connector
    answer = api.ask(connector_path(connector.name, "/config"), "PUT", connector.config)
    if answer.refusal:
        raise wrong(connector.path, "config", "is refused by the worker", "Its log says why.")


def remove(api: ConnectApi, name: str) -> bool:
    """Takes a connector off the worker; False when it was not there. Its position stays with the workers' group."""
    return not api.ask(connector_path(name), "DELETE").absent
