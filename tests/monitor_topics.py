"""Topics for the stream monitor: records with event times of the test, and what the tables hold of them.

Belongs here: what the tests of the monitor share. Not here: other topics (landing_topics.py), assertions.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb
from confluent_kafka import Producer
from landing_topics import settings_for

from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.table import WINDOWS
from ad_lakehouse.settings import MonitorSettings, Settings


@dataclass(frozen=True)
class Event:
    """One record: event time and record time in seconds, its id; `good` False: no JSON."""

    at: float
    sent: float
    event_id: str
    good: bool = True

    @property
    def payload(self) -> bytes:
        body = {
            "event_ts": round(self.at * 1e6), "creative_id": "c1", "user_id": "u1",
            "site": "news.example", "event_id": self.event_id,
        }  # fmt: skip
        return json.dumps(body).encode() if self.good else b"{bad"


def send(bootstrap: str, topic: str, events: Iterable[Event], partitions: int = 2, only: int | None = None) -> None:
    """Publishes with the record times of the events, over the partitions in turn, or to one `only`."""
    # Else a request that is tried again may come after the next one, and what is late would be another
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number, each in enumerate(events):
        producer.produce(
            topic,
            each.payload,
            partition=number % partitions if only is None else only,
            timestamp=round(each.sent * 1_000),
        )
        if number % 5_000 == 0:
            producer.poll(0)
    assert producer.flush(30) == 0


def monitor_settings(bootstrap: str, landing: dict[str, Any] | None = None, **monitor: Any) -> Settings:
    """Settings of a test."""
    base = settings_for(bootstrap, **(landing or {}))
    return base.model_copy(update={"monitor": MonitorSettings(**{"group": base.kafka.group + "-m"} | monitor)})


def counts(lake: Lake, measure: str = "events") -> Counter[int]:
    """Count of a measure by window start (seconds), summed over all rows."""
    files = lake.open(WINDOWS).file_uris()
    if not files:
        return Counter()
    rows = duckdb.execute(
        "select epoch(window_start)::bigint, sum(count)::bigint from read_parquet($f) where measure = $m group by 1",
        {"f": files, "m": measure},
    ).fetchall()
    return Counter(dict(rows))
