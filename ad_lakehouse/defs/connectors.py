"""What of Kafka Connect is wrong, as conditions of alerts.

Belongs here: asking its worker in the round of the alerts sensor. Not here: how it is asked (connect/).
"""

from datetime import datetime

from ad_lakehouse.alerts.conditions import Condition, FailedConnector, from_connectors
from ad_lakehouse.connect.rest import ConnectApi, ConnectUnreachable
from ad_lakehouse.connect.states import ConnectorState, connector_states
from ad_lakehouse.defs.keys import OWNERS
from ad_lakehouse.settings import ConnectSettings

UNREACHABLE = "connect/unreachable"
ATTEMPTS, TIMEOUT_SECONDS = 2, 10.0  # the sensor has more to do, and looks again soon


def connect_conditions(settings: ConnectSettings, at: datetime) -> tuple[list[Condition], list[str]]:
    """What is wrong, and the kinds that were looked at: of a worker that is away nothing more is known than that."""
    owner = OWNERS["bronze"]
    if not settings.url:
        return [], ["connect", "connector"]
    try:
        states = connector_states(ConnectApi(settings, attempts=ATTEMPTS, timeout=TIMEOUT_SECONDS))
    except ConnectUnreachable as error:
        text = f"{error.message} Whether its connectors deliver is not known meanwhile."
        away = Condition(UNREACHABLE, "error", "Kafka Connect does not answer", text, owner, "connect", "connect", at)
        return [away], ["connect"]
    facts = [FailedConnector(each.name, told(each)) for each in states if each.failed]
    return from_connectors(facts, at, owner), ["connect", "connector"]


def told(state: ConnectorState) -> str:
    """What failed of a connector, a line each."""
    lines = []
    for part in state.failed:
        named = "the connector" if part.task is None else f"task {part.task}"
        lines.append(f"{named} on {part.worker}: {part.reason or 'it gave no reason'}")
    return "\n".join(lines)
