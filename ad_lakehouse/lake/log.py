"""What a Delta log says: which days changed, what a table was built from, what each batch delivered.

Belongs here: reading commits. Not here: deciding what to rebuild (dbt_delta/plan.py).
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import obstore
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import NotFoundError

from ad_lakehouse.lake.tables import Lake, TableName

BUILD_KEY = "userMetadata"  # the commitInfo key that Spark writes too, so that both engines record alike
BATCH_KEY = "ad_lakehouse"
AT_ONCE = 16  # an object store takes as long for one entry as for many at once
Day = date | None  # None is the partition of rejected rows


@dataclass(frozen=True)
class Commit:
    """One entry of a Delta log."""

    version: int
    actions: tuple[dict[str, Any], ...]

    @cached_property
    def info(self) -> dict[str, Any]:
        return next((action["commitInfo"] for action in self.actions if "commitInfo" in action), {})

    @property
    def note(self) -> dict[str, Any]:
        """What our code wrote into the commit: of a build (`userMetadata`) or of a batch (`ad_lakehouse`)."""
        for key in (BUILD_KEY, BATCH_KEY):
            text = self.info.get(key)
            if text:
                note = json.loads(text)
                if isinstance(note, dict):
                    return note
        return {}

    def changed_files(self) -> list[dict[str, Any]]:
        """Its add and remove actions that change rows; compaction and retention have none."""
        if self.note.get("kind") == "retention":
            return []
        files = (action.get("add") or action.get("remove") for action in self.actions)
        return [file for file in files if file and file.get("dataChange", True)]

    def days(self, column: str) -> set[Day] | None:
        """Partition days whose rows this commit changed; None when a file was partitioned by something else."""
        partitions = [file.get("partitionValues") or {} for file in self.changed_files()]
        if any(column not in values for values in partitions):
            return None
        return {date.fromisoformat(values[column]) if values[column] else None for values in partitions}

    @property
    def size_added(self) -> int:
        """Bytes of the files it added."""
        return sum(action["add"]["size"] for action in self.actions if "add" in action)


class TableLog:
    """The log of one table; `None` answers mean that the log no longer reaches back that far."""

    def __init__(self, lake: Lake, name: TableName, dev: str | None = None) -> None:
        self._store = lake.store(*(["_dev", dev] if dev else []), name.layer, name.table, "_delta_log")

    def commit(self, version: int) -> Commit | None:
        content = self._get(f"{version:020d}.json")
        if content is None:
            return None
        return Commit(version, tuple(orjson.loads(line) for line in content.splitlines() if line.strip()))

    def _get(self, name: str) -> bytes | None:
        """A file of the log; None when it is not there."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def since(self, version: int, until: int) -> list[Commit] | None:
        """Commits in (version, until], oldest first; None when one of them is gone."""
        wanted = range(version + 1, until + 1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            commits = list(pool.map(self.commit, wanted)) if len(wanted) > AT_ONCE else [*map(self.commit, wanted)]
        return None if None in commits else [commit for commit in commits if commit is not None]

    def newest_first(self, version: int) -> Iterator[Commit]:
        """Commits from `version` back to the oldest still there."""
        for each in range(version, -1, -1):
            commit = self.commit(each)
            if commit is None:
                return
            yield commit

    def transactions(self, version: int) -> dict[str, int] | None:
        """App id → version of every Delta transaction up to a version of the table; None when the log does not tell.

        All at once: asking delta-rs for one of them reads them all, each time.
        """
        last = self._get("_last_checkpoint")
        summed = json.loads(last)["version"] if last else -1
        found: dict[str, int] = {}
        if last:
            content = self._get(f"{summed:020d}.checkpoint.parquet")
            if content is None or summed > version:
                return None
            column = pq.read_table(pa.BufferReader(content), columns=["txn"])["txn"].drop_null()
            found = {each["appId"]: each["version"] for each in column.to_pylist()}
        commits = self.since(summed, version)
        if commits is None:
            return None
        told = [action["txn"] for commit in commits for action in commit.actions if "txn" in action]
        return found | {each["appId"]: each["version"] for each in told}

    def changed_days(self, column: str, since: int, until: int) -> set[Day] | None:
        """Days of partition `column` changed in (since, until]; None when the log does not tell."""
        commits = self.since(since, until)
        if commits is None:
            return None
        touched: set[Day] = set()
        for commit in commits:
            days = commit.days(column)
            if days is None:
                return None
            touched |= days
        return touched

    def changed(self, since: int, until: int) -> bool | None:
        """Whether any row changed in (since, until]; None when the log no longer tells."""
        commits = self.since(since, until)
        return None if commits is None else any(commit.changed_files() for commit in commits)

    def newest_build(self, version: int) -> Commit | None:
        """The newest commit of a build at or before `version`."""
        return next((each for each in self.newest_first(version) if each.note.get("kind") == "build"), None)

    def recorded_build(self, version: int) -> dict[str, Any] | None:
        """What the newest build at or before `version` wrote of itself."""
        build = self.newest_build(version)
        return build.note if build else None

    def newest_change(self, version: int) -> Commit | None:
        """The newest commit at or before `version` that changed rows; None when the log has none."""
        return next((each for each in self.newest_first(version) if each.changed_files()), None)
