"""A code location on a lake of its own, with a small dbt project and files to land.

Belongs here: what the Dagster tests share. Not here: fixtures that other tests need too (conftest.py), promises.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.location import code_location
from ad_lakehouse.defs.prepare import prepare
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import connect, define_views
from ad_lakehouse.settings import AlertSettings, KafkaSettings, LandingSettings, Settings, TransformSettings

PROJECT = Path(__file__).parent / "integration" / "dagster_project"


@dataclass
class DagsterLake:
    """A lake, a drop folder and the code location on them."""

    folder: Path
    settings: Settings

    @classmethod
    def at(
        cls, folder: Path, *, kafka: KafkaSettings | None = None, alerts: AlertSettings | None = None
    ) -> "DagsterLake":
        (folder / "drop" / "dimensions").mkdir(parents=True)
        shutil.copytree(PROJECT / "contracts", folder / "contracts")
        settings = Settings(
            lake=str(folder / "lake"),
            drop_folder=folder / "drop",
            contracts=folder / "contracts",
            landing=LandingSettings(settle_seconds=0),
            transform=TransformSettings(threads=1),
            kafka=kafka or KafkaSettings(),
            alerts=alerts or AlertSettings(),
        )
        return cls(folder, settings)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def location(self) -> dg.Definitions:
        prepare(PROJECT)
        return code_location(self.settings, PROJECT)

    def drop(self, name: str, content: str) -> None:
        (self.folder / "drop" / name).write_text(content)

    def run(self, instance: dg.DagsterInstance, job: str, *tables: str, check: bool = True) -> Any:
        """Runs a job, or of it only the assets of `tables`."""
        keys = [asset_key(each) for each in tables] or None
        return (
            self.location()
            .resolve_job_def(job)
            .execute_in_process(instance=instance, asset_selection=keys, raise_on_error=check)
        )

    def rows(self, query: str) -> list[Any]:
        with connect() as connection:
            define_views(connection, self.lake)
            return connection.execute(query).fetchall()

    def lift_ceiling(self) -> None:
        """The contract of marts.site_daily accepts any price from now on."""
        path = self.folder / "contracts" / "marts" / "site_daily.yml"
        path.write_text(path.read_text().replace("valid_max: 1000000", "valid_max: 1000000000"))

    def version(self, name: str) -> int:
        return self.lake.open(TableName.parse(name)).version()


class Ticks:
    """One sensor, tick after tick."""

    def __init__(self, site: DagsterLake, instance: dg.DagsterInstance, name: str) -> None:
        self.site, self.instance, self.name, self.cursor = site, instance, name, None

    def __call__(self) -> Any:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"settings": self.site.settings})
        answer = self.site.location().get_repository_def().get_sensor_def(self.name)(context)
        self.cursor = context.cursor
        return answer


@contextmanager
def target_in(folder: Path) -> Iterator[None]:
    """dbt's and the graph's files go to a temporary folder."""
    before = os.environ.get("DBT_TARGET_PATH")
    os.environ["DBT_TARGET_PATH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DBT_TARGET_PATH")
        if before is not None:
            os.environ["DBT_TARGET_PATH"] = before


def impressions(count: int, *, days_ago: int = 1, first: int = 0, **more: Any) -> str:
    """JSON lines of impressions of one day, each with its own id."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return impressions_at(noon - timedelta(days_ago), count, first=first, **more)


def impressions_at(at: datetime, count: int, *, first: int = 0, **more: Any) -> str:
    """JSON lines of impressions at one time, each with its own id."""
    return lines(
        {
            "event_id": f"i{number}", "event_ts": at.isoformat(), "creative_id": "c1",
            "user_id": f"u{number}", "site": f"s{number % 2}", "price_micros": 1000, "currency": "EUR", **more,
        }
        for number in range(first, first + count)
    )  # fmt: skip


def clicks_and_conversions(count: int) -> str:
    """The mixed CSV: one conversion for each click."""
    at = datetime.now(UTC) - timedelta(days=1)
    rows = ["event_ts,user_id,campaign_id,conversion_type"]
    for number in range(count):
        rows += [f"{at.isoformat()},u{number},k1,click", f"{at.isoformat()},u{number},k1,purchase"]
    return "\n".join(rows) + "\n"


def lines(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def metadata(result: Any, table: str) -> dict[str, Any]:
    """Metadata of the table's materialisation in a run, as plain values."""
    (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == asset_key(table)]
    return {key: each.value for key, each in event.materialization.metadata.items()}


def checks(result: Any) -> dict[tuple[str, str], bool]:
    """(table, check) → passed, of a run."""
    return {
        (".".join(each.asset_key.path), each.check_name): each.passed for each in result.get_asset_check_evaluations()
    }
