"""The Delta table `ops.anomalies`: when each anomaly began and ended.

Belongs here: writing a change, reading what is open. Not here: finding anomalies (watch.py), telling them (alerts/).

Rows are only added: one when an anomaly begins, one when it ends; the newest of (source, kind, began) counts. A window
may be judged again after a restart, so what the table has already is not added again.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa

from ad_lakehouse.alerts.stream import StreamAnomaly
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.monitor.watch import Anomaly
from kafka_sinks.commit import BronzeTable, Commit
from kafka_sinks.origin import batch_id

ANOMALIES = TableName("ops", "anomalies")
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        pa.field(DAY, pa.date32()),
        pa.field("source", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("began", TIME),
        pa.field("noticed", TIME),  # the window in which it became one
        pa.field("ended", TIME),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("observed", pa.float64()),
        pa.field("usual", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("told_at", TIME),
    ]
)
DESCRIPTION = "Anomalies of the live topics: a row when one begins, a row when it ends"
Identity = tuple[str, str, int]


class AnomaliesTable:
    """The table, open, and what it holds. Windows are numbers of `window_seconds` since 1970."""

    def __init__(self, lake: Lake, window_seconds: int) -> None:
        self._table = BronzeTable(lake, ANOMALIES, SCHEMA, DESCRIPTION)
        self._micros = window_seconds * 1_000_000
        self.known: dict[Identity, Anomaly] = {_identity(each): each for each in read(lake, window_seconds)}

    def add(self, changes: Iterable[Anomaly], now: datetime) -> list[Anomaly]:
        """Commits those changes that are new, and returns them."""
        new = [each for each in changes if not self._is_known(each)]
        if new:
            rows = pa.Table.from_pylist([self._row(each, now) for each in new], schema=SCHEMA)
            self._table.land(batch_id(now, uuid4()), lambda _: Commit(rows, []), kind="anomalies")
            self.known |= {_identity(each): each for each in new}
        return new

    def open_at(self, window: int) -> list[Anomaly]:
        """Those that had begun before a window and had not ended before it, as open."""
        return [
            replace(a, ended=None)
            for a in self.known.values()
            if a.began < window and (a.ended is None or a.ended >= window)
        ]

    def lasting(self) -> list[StreamAnomaly]:
        """Those that have not ended, for alerts."""
        return [told(each, self._micros // 1_000_000) for each in self.known.values() if each.ended is None]

    def _is_known(self, change: Anomaly) -> bool:
        there = self.known.get(_identity(change))
        return there is not None and (change.ended is None or there.ended == change.ended)

    def _row(self, each: Anomaly, now: datetime) -> dict[str, object]:
        began = self._time(each.began)
        return {
            DAY: began.date(), "source": each.source, "kind": each.kind, "severity": each.severity, "began": began,
            "noticed": self._time(each.noticed),
            "ended": None if each.ended is None else self._time(each.ended), "title": each.title, "text": each.text,
            "observed": each.observed, "usual": each.usual, "low": each.low, "high": each.high, "told_at": now,
        }  # fmt: skip

    def _time(self, window: int) -> datetime:
        return datetime.fromtimestamp(window * self._micros / 1e6, UTC)


def _identity(each: Anomaly) -> Identity:
    return each.source, each.kind, each.began


def read(lake: Lake, window_seconds: int) -> list[Anomaly]:
    """Every anomaly as it is now; none when nothing was ever watched."""
    micros = window_seconds * 1_000_000
    return [
        Anomaly(
            row["source"], row["kind"], row["began_us"] // micros, row["noticed_us"] // micros,
            None if row["ended_us"] is None else row["ended_us"] // micros,
            row["observed"], row["usual"], row["low"], row["high"],
        )
        for row in _rows(lake)
    ]  # fmt: skip


def open_anomalies(lake: Lake, window_seconds: int) -> list[StreamAnomaly]:
    """Those that have not ended, for checks."""
    return [told(each, window_seconds) for each in read(lake, window_seconds) if each.ended is None]


def told(each: Anomaly, window_seconds: int) -> StreamAnomaly:
    """What others are told of an anomaly."""
    began = datetime.fromtimestamp(each.began * window_seconds, UTC)
    return StreamAnomaly(each.source, each.kind, each.severity, each.title, each.text, began)


def _rows(lake: Lake) -> list[dict[str, Any]]:
    table = lake.open_if_exists(ANOMALIES)
    snapshot = None if table is None else Snapshot.of(ANOMALIES, table)
    if snapshot is None or not snapshot.files:
        return []
    with connect(lake) as connection:
        whole = connection.sql(snapshot.query(connection, snapshot.files))
        found: list[dict[str, Any]] = whole.query(
            "a",
            """select * exclude (began, noticed, ended), epoch_us(began) as began_us, epoch_us(noticed) as noticed_us,
                      epoch_us(ended) as ended_us
               from a
               qualify row_number() over (partition by source, kind, began
                                          order by told_at desc, ended is null) = 1
               order by began, source, kind""",
        ).to_arrow_table().to_pylist()  # fmt: skip
    return found
