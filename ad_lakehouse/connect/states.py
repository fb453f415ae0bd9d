"""How the connectors on the worker are.

Belongs here: states of connectors and tasks, what has failed, restarting that. Not here: what follows from a
failure (alerts, exit codes of commands).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ad_lakehouse.connect.rest import ConnectApi, connector_path
from ad_lakehouse.errors import LakehouseError

FAILED = "FAILED"
LONGEST = 300  # characters of a reason


class ConnectorFailed(LakehouseError):
    """A connector or one of its tasks has failed and will not go on by itself."""

    exit_code = 44


@dataclass(frozen=True)
class Part:
    """The connector itself (`task` is None) or one of its tasks. `reason` is the first line of what made it fail."""

    task: int | None
    state: str
    worker: str
    reason: str = ""


@dataclass(frozen=True)
class ConnectorState:
    """A connector and its tasks."""

    name: str
    parts: tuple[Part, ...]

    @property
    def failed(self) -> tuple[Part, ...]:
        return tuple(each for each in self.parts if each.state == FAILED)


def connector_states(api: ConnectApi) -> list[ConnectorState]:
    """Every connector of the worker's group, by name."""
    answer = api.ask("/connectors?expand=status")
    return [_state(name, found["status"]) for name, found in sorted(answer.body.items())]


def _state(name: str, status: dict[str, Any]) -> ConnectorState:
    parts = [_part(None, status["connector"]), *(_part(each["id"], each) for each in status["tasks"])]
    return ConnectorState(name, tuple(parts))


def _part(task: int | None, found: dict[str, Any]) -> Part:
    return Part(task, str(found["state"]), str(found.get("worker_id", "")), first_line(found.get("trace") or ""))


def first_line(trace: str) -> str:
    """What a Java trace says: its innermost cause, for the outer ones mostly say that there is one."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    if not lines:
        return ""
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    said = lines[0] if not causes or causes[-1] in lines[0] else f"{lines[0]} ← {causes[-1]}"
    return re.sub(r"\b(?:[a-z]\w*\.)+(?=[A-Z])", "", said)[:LONGEST]


def restart_failed(api: ConnectApi, states: Iterable[ConnectorState]) -> list[str]:
    """Starts again what has failed, and says of which connectors."""
    names = [each.name for each in states if each.failed]
    for name in names:
        api.ask(connector_path(name, "/restart?includeTasks=true&onlyFailed=true"), "POST")
    return names


def raise_if_failed(states: Iterable[ConnectorState]) -> None:
    """Raises `ConnectorFailed` naming each failed connector."""
    names = [each.name for each in states if each.failed]
    if names:
        raise ConnectorFailed(
            f"Failed: {', '.join(names)}.",
            remedy="Mend the cause, then: ad-lakehouse connect apply --restart-failed",
        )
