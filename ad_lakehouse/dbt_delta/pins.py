"""The versions of all tables that one run reads.

Belongs here: pinning, what changed between a recorded and a pinned version. Not here: deciding what is stale
(plan.py), reading the rows of a pinned version (duckdb_views.py, dbt_spark), writing (store.py).

All models of a run read one version of each table, those that the run itself builds excepted: they are pinned
anew after their commit. Safe for several threads.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from threading import RLock

from deltalake.exceptions import TableNotFoundError

from ad_lakehouse.dbt_delta.plan import Changed, Dependency, Recorded, Version
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.views import Snapshot
from ad_lakehouse.settings import PREFIX

LANDING = "Land it first: ad-lakehouse land (which creates the landed tables, empty ones too)."


class MissingInput(LakehouseError):
    """A table that a model reads is not in the lake, or cannot be read."""

    exit_code = 8


class Pins:
    """Pinned snapshots by table name; with `dev`, that developer's tables stand in for the published ones."""

    def __init__(self, lake: Lake, dev: str | None = None) -> None:
        self.lake = lake
        self.dev = dev
        self._lock = RLock()
        self._snapshots: dict[TableName, Snapshot] = {}
        self._own: set[TableName] = set()
        self._unreadable: dict[TableName, str] = {}

    def pin_all(self) -> None:
        """Pins every table as it is now. One that cannot be read is an error only of the models that need it."""
        with self._lock:
            for dev in (None, self.dev) if self.dev else (None,):
                for name in self.lake.tables(dev):
                    self._pin(name, dev)

    def _pin(self, name: TableName, dev: str | None) -> None:
        try:
            self._snapshots[name] = Snapshot.of(name, self.lake.open(name, dev=dev))
            self._unreadable.pop(name, None)
        except LakehouseError as error:
            self._snapshots.pop(name, None)
            self._unreadable[name] = str(error)
        if dev:
            self._own.add(name)

    def pin_latest(self, name: TableName) -> None:
        """Pins the newest version of one table."""
        with self._lock:
            try:
                self._pin(name, self._dev_of(name))
            except TableNotFoundError:
                self._snapshots.pop(name, None)

    def built(self, snapshot: Snapshot) -> None:
        """The run itself made this version of a table of its target: what follows reads it."""
        with self._lock:
            self._snapshots[snapshot.name] = snapshot
            if self.dev:
                self._own.add(snapshot.name)

    def __contains__(self, name: str) -> bool:
        return TableName.parse(name) in self._snapshots

    def get(self, name: TableName) -> Snapshot:
        """Raises `MissingInput`."""
        found = self._snapshots.get(name)
        if found is not None:
            return found
        if name in self._unreadable:
            raise MissingInput(f"{name} cannot be read: {self._unreadable[name]}")
        raise MissingInput(
            f"{name} is not in the lake {self.lake.url} ({PREFIX}LAKE).",
            remedy=LANDING if name.layer == "bronze" else f"Build it first: dbt build --select +{name.table}",
        )

    def pinned(self) -> list[Snapshot]:
        """Every pinned table, by name."""
        with self._lock:
            return [self._snapshots[name] for name in sorted(self._snapshots)]

    def uri(self, name: TableName) -> str:
        """Where the pinned table is: the developer's own or the published one."""
        return self.lake.uri(name, self._dev_of(name))

    def _dev_of(self, name: TableName) -> str | None:
        return self.dev if name in self._own else None

    def versions(self, names: Iterable[str]) -> dict[str, Version]:
        """Raises `MissingInput`."""
        found = [self.get(TableName.parse(name)) for name in names]
        return {str(each.name): Version(each.table_id, each.version) for each in found}

    def retained(self, names: Iterable[str]) -> dict[str, date]:
        """The first day kept by each of the tables that retention touched."""
        found = [self.get(TableName.parse(name)) for name in names]
        return {str(each.name): each.retained_from for each in found if each.retained_from}

    def catch_up(self, recorded: Recorded) -> None:
        """Pins anew the inputs of which a build that ran meanwhile has published results of a later version.

        Without this a run that began earlier would put the older result back.
        """
        for name, version in recorded.inputs.items():
            pinned = self._snapshots.get(TableName.parse(name))
            if pinned and pinned.table_id == version.id and pinned.version < version.version:
                self.pin_latest(pinned.name)

    def changed(self, now: Mapping[str, Version], recorded: Recorded) -> dict[str, Changed]:
        """What changed in each input that has another version than the recorded one."""
        return {
            name: self._changed(TableName.parse(name), recorded.inputs[name].version, version.version)
            for name, version in now.items()
            if version.version != recorded.inputs[name].version
        }

    def _changed(self, name: TableName, since: int, until: int) -> Changed:
        log = TableLog(self.lake, name, self._dev_of(name))
        partition = self.get(name).partition
        if partition is None:
            changed = log.changed(since, until)
            if changed is False:
                return Changed(frozenset())
            return Changed(None, "changed" if changed else f"has no log back to version {since}")
        days = log.changed_days(partition, since, until)
        if days is None:
            return Changed(None, f"has no log back to version {since}, or another partitioning")
        return Changed(frozenset(day for day in days if day is not None))

    def read(self, dependency: Dependency) -> Snapshot:
        """The pinned table behind an input. Raises `MissingInput`, also when it lacks the days that are asked for."""
        snapshot = self.get(TableName.parse(dependency.table))
        if dependency.window is not None and snapshot.partition is None:
            raise MissingInput(
                f"{dependency.table} has no day partition.", remedy=f"Read it by lake_all(…{snapshot.name.table}…)."
            )
        return snapshot
