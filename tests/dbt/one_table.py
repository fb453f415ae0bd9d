"""One table built again and again, by builders that each stand for a process.

Belongs here: the builder. Not here: promises (test_*.py).
"""

from dataclasses import replace
from typing import Any

from small_lake import CONTRACTS, SmallLake, at

from ad_lakehouse.dbt_delta.duckdb_views import define_views
from ad_lakehouse.dbt_delta.model import Model, Request
from ad_lakehouse.dbt_delta.pins import Pins
from ad_lakehouse.dbt_delta.staging import DuckDBStaging
from ad_lakehouse.dbt_delta.store import Build, Outcome
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.views import connect

SHOWN = TableName("silver", "impressions")
COLUMNS = "event_id, user_id, event_date"
SAME_DAY = f'select {COLUMNS} from "bronze.impressions[0..0]"'


def show(small: SmallLake, *days: int, user: str | None = "u") -> None:
    small.land("impressions", [{"event_id": f"i{small.offset}-{n}", "event_ts": at(n), "user_id": user} for n in days])


class Builder:
    """One process that builds: pins when it begins, like a run of dbt."""

    def __init__(self, small: SmallLake, sql: str = SAME_DAY, request: Request | None = None, **config: Any) -> None:
        self.pins = Pins(small.lake)
        self.pins.pin_all()
        self.connection = connect()
        define_views(self.connection, self.pins)
        model = Model.of("silver", "impressions", sql, config)
        asked = request or Request()
        self.request = replace(asked, contracts=asked.contracts or CONTRACTS)
        self.build = Build(model, self.pins, DuckDBStaging(model, self.connection.cursor()), self.request)

    def run(self) -> Outcome:
        return self.build.run()


def published(small: SmallLake) -> list[Any]:
    return small.rows("silver.impressions")


def version(small: SmallLake) -> int:
    return small.lake.open(SHOWN).version()
