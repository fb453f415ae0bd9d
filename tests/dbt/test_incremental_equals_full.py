"""For any order of arrival, lateness, change or accident: incremental tables equal a build from nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from small_lake import BUILT, SCHEMAS, Row, SmallLake, at, day

from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.retention import retain

STEPS = int(os.environ.get("INCREMENTAL_STEPS", "14"))  # raise it for a longer search
SEEDS = [int(seed) for seed in os.environ.get("INCREMENTAL_SEEDS", "1").split()]
DAYS = 12


class Machine:
    """Random accidents of a lake, each followed by a build."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.small = SmallLake(folder)
        self.variables: dict[str, Any] = {}
        self.landed: dict[str, list[Row]] = {source: [] for source in SCHEMAS}
        self.said: list[str] = []

    def event(self, source: str) -> Row:
        random = self.random
        row: Row = {
            "event_id": f"e{random.randrange(40)}",
            "event_ts": at(random.randrange(DAYS), random.randrange(24 * 4) / 4),
            "user_id": f"u{random.randrange(5)}",
        }
        if source == "impressions":
            return row | {"campaign_id": f"c{random.randrange(3)}", "price_micros": random.randrange(9)}
        return row | {"revenue_micros": random.randrange(9)}

    def land(self) -> None:
        """Events of any day, hence mostly late."""
        source = self.random.choice(["impressions", "conversions"])
        rows = [self.event(source) for _ in range(self.random.choice([1, 1, 2, 8]))]
        self.landed[source] += rows
        self.small.land(source, rows)

    def land_many(self) -> None:
        for source in ("impressions", "conversions"):
            rows = [self.event(source) for _ in range(30)]
            self.landed[source] += rows
            self.small.land(source, rows)

    def deliver_again(self) -> None:
        """The same events once more, and the same ids with other payloads."""
        for source in ("impressions", "conversions"):
            known = self.landed[source]
            again = self.random.sample(known, min(3, len(known)))
            other = [row | {"user_id": "u0", "event_ts": row["event_ts"]} for row in again[:1]]
            if again:
                self.small.land(source, [*again, *other])

    def reject(self) -> None:
        self.small.reject("impressions")

    def say_nothing(self) -> None:
        self.small.note("conversions")

    def add_column(self) -> None:
        self.small.land("impressions", [self.event("impressions")], added_column=f"extra{self.random.randrange(3)}")

    def change_dimension(self) -> None:
        campaign = {"campaign_id": f"c{self.random.randrange(3)}", "utc_offset_hours": self.random.randrange(-11, 14)}
        self.small.land("campaigns", [campaign])

    def compact(self) -> None:
        for name in self.small.lake.tables():
            self.small.lake.open(name).optimize.compact()

    def vacuum(self) -> None:
        for name in self.small.lake.tables():
            self.small.lake.open(name).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    def change_variable(self) -> None:
        """A window of a model, or a number inside a macro."""
        if self.random.random() < 0.5:
            self.variables["view_days"] = self.random.choice([1, 2, 3, 5])
        else:
            self.variables["price"] = self.random.choice([1, 2])

    def recreate(self) -> None:
        source = self.random.choice(["impressions", "conversions"])
        self.landed[source] = [self.event(source) for _ in range(5)]
        self.small.recreate(source, self.landed[source])

    def set_back(self) -> None:
        """A source is restored to an earlier version."""
        table = self.small.lake.open(TableName("bronze", "impressions"))
        if table.version() > 1:
            table.restore(table.version() - 1, ignore_missing_files=True)

    def erase(self) -> None:
        """Rows of one user are deleted, which rewrites files of several days."""
        self.small.lake.open(TableName("bronze", "impressions")).delete("user_id = 'u1'")

    def build_some(self) -> None:
        """A build that ended between two models; then more arrives."""
        some = self.random.sample(["impressions", "conversions", "credits", "campaigns"], 2)
        self.small.build(select=some, variables=self.variables, check=False)
        self.land()

    def lose_log(self) -> None:
        """The log entries up to a checkpoint are gone, as after clean-up."""
        table = self.small.lake.open(TableName("bronze", "impressions"))
        table.create_checkpoint()
        folder = Path(self.small.lake.uri(TableName("bronze", "impressions"))) / "_delta_log"
        for version in range(table.version()):
            (folder / f"{version:020d}.json").unlink(missing_ok=True)

    def step(self, action: Callable[[], None]) -> None:
        self.said.append(action.__name__)
        action()

    def check(self, where: dict[str, str] | None = None) -> None:
        """Builds, and compares with a build from nothing; only days that differ were replaced; then all is done."""
        before = self.small.versions()
        self.small.build(threads=self.random.choice([1, 4]), variables=self.variables)
        for name, version in before.items():
            if name not in ("silver.campaigns", "marts.totals"):
                assert self.small.days_committed(name, version) == self.small.days_differing(name, version), self.said
        after = self.small.versions()
        full = self.small.build_aside(self.variables)
        for name in BUILT:
            if where is None or name in where:
                condition = (where or {}).get(name, "true")
                assert self.small.differences(name, full, condition) == [], f"{name} after {self.said}"
        self.small.build(variables=self.variables)
        assert self.small.versions() == after, f"a second build committed after {self.said}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_incremental_tables_equal_a_build_from_nothing(tmp_path: Path, seed: int) -> None:
    machine = Machine(tmp_path, seed)
    machine.check()  # empty tables
    machine.step(machine.change_dimension)
    machine.step(machine.land_many)
    machine.check()
    once = [
        machine.add_column, machine.compact, machine.vacuum, machine.recreate, machine.set_back, machine.erase,
        machine.build_some, machine.lose_log, machine.change_variable, machine.change_dimension, machine.deliver_again,
        machine.reject, machine.say_nothing,
    ]  # fmt: skip
    machine.random.shuffle(once)
    more = [*once, *machine.random.choices([*once, *[machine.land] * 6], k=STEPS)]
    for action in more[:STEPS]:
        for each in [action, machine.land] if machine.random.random() < 0.5 else [action]:
            machine.step(each)
        machine.check()


@pytest.mark.timeout(900)
def test_retention_shrinks_nothing_below_and_freezes_what_it_cut(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 7)
    small = machine.small
    machine.step(machine.change_dimension)
    machine.step(machine.land_many)
    machine.check()
    kept = {name: small.rows(name) for name in BUILT}
    cut = {name: small.rows(name, where=since(None, 4)) for name in ("silver.impressions", "attribution.credits")}
    before = small.versions()
    for source in ("impressions", "conversions"):
        assert retain(small.lake, TableName("bronze", source), day(4)) > 0
    small.build()
    assert {name: small.rows(name) for name in BUILT} == kept
    for name in ("silver.impressions", "silver.conversions", "attribution.credits", "marts.campaign_daily"):
        assert small.days_committed(name, before[name]) == set()

    # A day of silver reads itself, a day of credits three days more. A build from nothing has no days before the
    # cut, so it agrees on days that read none of them.
    agree = {
        "silver.impressions": since(4), "silver.conversions": since(4), "attribution.credits": since(7),
        "silver.campaigns": "true",
    }  # fmt: skip
    machine.variables["price"] = 2
    for each in (machine.land, machine.deliver_again, machine.land_many, machine.compact):
        machine.step(each)
        small.build(variables=machine.variables, full_refresh=each == machine.land_many)
        full = small.build_aside(machine.variables)
        for name, condition in agree.items():
            assert small.differences(name, full, condition) == [], machine.said
        for name, rows in cut.items():
            assert small.rows(name, where=since(None, 4)) == rows, machine.said


def test_day_that_reads_a_day_cut_by_retention_is_kept_even_by_a_full_rebuild(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    small.land("impressions", [{"event_id": f"i{n}", "event_ts": at(n), "user_id": "u"} for n in range(8)])
    small.land("conversions", [{"event_id": f"c{n}", "event_ts": at(n, 13), "user_id": "u"} for n in range(8)])
    small.build()
    before = small.rows("attribution.credits", where=since(None, 7))
    retain(small.lake, TableName("silver", "impressions"), day(4))
    small.land("impressions", [{"event_id": "late", "event_ts": at(6, 2), "user_id": "u"}])
    small.build(full_refresh=True)
    assert small.rows("attribution.credits", where=since(None, 7)) == before
    assert small.rows("attribution.credits", where=since(7) + " and touch_id = 'late'")
    assert small.rows("silver.impressions", where=since(None, 4)) == []


def since(first: int | None, end: int = 99) -> str:
    """SQL: from day `first` to before day `end`."""
    return f"event_date >= date '{day(first or 0)}' and event_date < date '{day(end)}'"
