"""The Delta table `ops.alerts`: one row an alert, with its state and its deliveries.

Belongs here: reading and writing it. Not here: deciding what stands in it.

State and outbox are one row, so one commit changes both: a change that is remembered has its messages, and a
message that is queued has its change. Every commit replaces the table on the version it read, marked by a Delta
transaction of our own, so that of two writers at once one fails and begins anew.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.alerts.state import AlertState, Delivery, Ledger, Notification
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import Snapshot, connect

NAME = TableName("ops", "alerts")
TRANSACTION = "ops.alerts"
_TIME = pa.timestamp("us", "UTC")
_NOTIFICATION = {
    "event": pa.string(),
    "reason": pa.string(),
    "severity": pa.string(),
    "title": pa.string(),
    "text": pa.string(),
    "owner": pa.string(),
    "asset": pa.string(),
    "source": pa.string(),
    "level": pa.int32(),
    "opened_at": _TIME,
    "at": _TIME,
    "sequence": pa.int32(),
}
_DELIVERY = {
    "channel": pa.string(),
    "status": pa.string(),
    "attempts": pa.int32(),
    "not_before": _TIME,
    "retry_at": _TIME,
    "claimed_until": _TIME,
    "holds_channel": pa.bool_(),
    "delivered_at": _TIME,
    "reference": pa.string(),
    "error": pa.string(),
}
_STATE = {
    "key": pa.string(),
    "status": pa.string(),
    "severity": pa.string(),
    "title": pa.string(),
    "text": pa.string(),
    "owner": pa.string(),
    "asset": pa.string(),
    "source": pa.string(),
    "parent": pa.string(),
    "first_seen": _TIME,
    "evaluations": pa.int32(),
    "not_before": _TIME,
    "folded_into": pa.string(),
    "opened_at": _TIME,
    "closed_at": _TIME,
    "absent_since": _TIME,
    "told_at": _TIME,
    "raised_at": _TIME,
    "level": pa.int32(),
    "sequence": pa.int32(),
    "openings": pa.list_(_TIME),
    "below": pa.list_(pa.string()),
    "acknowledged_at": _TIME,
    "acknowledged_by": pa.string(),
    "snoozed_until": _TIME,
}
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=name != "key") for name, kind in _STATE.items()]
    + [pa.field("deliveries", pa.list_(pa.struct([*_NOTIFICATION.items(), *_DELIVERY.items()])))]
)


class StateMoved(Exception):  # an event between two writers, not an error that a user sees
    """Another evaluation committed since the state was read."""


@dataclass(frozen=True)
class Stored:
    """The ledger as one version of the table holds it."""

    ledger: Ledger
    table: DeltaTable | None  # None: nothing was ever told
    version: int | None  # the handle moves on when it commits, this does not


def load(lake: Lake) -> Stored:
    """What is kept now. Creates nothing."""
    table = lake.open_if_exists(NAME)
    if table is None:
        return Stored(Ledger(), None, None)
    snapshot = Snapshot.of(NAME, table)
    with connect(lake) as connection:
        rows = connection.sql(snapshot.query(connection, snapshot.files)).to_arrow_table().to_pylist()
    states: dict[str, AlertState] = {}
    deliveries: dict[str, tuple[Delivery, ...]] = {}
    for row in rows:
        state = _state(row)
        states[state.key] = state
        if row["deliveries"]:
            deliveries[state.key] = tuple(_delivery(state.key, each) for each in row["deliveries"])
    return Stored(Ledger(states, deliveries), table, table.version())


def save(lake: Lake, stored: Stored, ledger: Ledger, why: Mapping[str, Any]) -> Stored:
    """Replaces what `stored` held by `ledger` in one commit; writes nothing when they are equal.

    Raises `StateMoved` when somebody else committed since `stored` was read.
    """
    if ledger == stored.ledger:
        return stored
    table = stored.table
    if table is None:
        table = lake.create(NAME, SCHEMA, description="State of each alert, and what was or is to be sent of it")
        if table.version() != 0:
            raise StateMoved
    rows = [
        {**_plain(state), "deliveries": [_row(each) for each in ledger.deliveries.get(key, ())]}
        for key, state in sorted(ledger.states.items())
    ]
    try:
        write_deltalake(
            table,
            pa.Table.from_pylist(rows, schema=SCHEMA),
            mode="overwrite",
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": json.dumps({"kind": "alerts", **why})},
                app_transactions=[Transaction(TRANSACTION, table.version() + 1)],
            ),
        )
    except CommitFailedError:
        raise StateMoved from None
    return Stored(ledger, table, table.version())


def _plain(state: AlertState) -> dict[str, Any]:
    return {**asdict(state), "openings": list(state.openings), "below": list(state.below)}


def _row(delivery: Delivery) -> dict[str, Any]:
    row = {name: getattr(delivery, name) for name in _DELIVERY}
    return {**{name: getattr(delivery.notification, name) for name in _NOTIFICATION}, **row}


def _state(row: Mapping[str, Any]) -> AlertState:
    values = {each.name: _utc(row[each.name]) for each in fields(AlertState)}
    values["openings"] = tuple(_utc(each) for each in row["openings"] or ())
    values["below"] = tuple(row["below"] or ())
    return AlertState(**values)


def _delivery(key: str, row: Mapping[str, Any]) -> Delivery:
    notification = Notification(key=key, **{name: _utc(row[name]) for name in _NOTIFICATION})
    return Delivery(notification, **{name: _utc(row[name]) for name in _DELIVERY})


def _utc(value: Any) -> Any:
    """Arrow gives times a zone object of its own; ours are `datetime.UTC`."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value
