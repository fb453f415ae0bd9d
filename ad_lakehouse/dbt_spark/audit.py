"""Contracts checked by Spark: Soda's Spark dialect over any connection that runs a statement.

Belongs here: what quality.database asks, for Spark. Not here: what is checked, and what follows from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from ad_lakehouse.quality.database import Rows


@dataclass(frozen=True)
class Result:
    """What a statement gave: `description` has a column's name and type, as in Python's DB-API."""

    description: Sequence[Sequence[Any]]
    rows: Sequence[Sequence[Any]] = ()

    def fetchall(self) -> Sequence[Sequence[Any]]:
        return self.rows


class SparkDatabase:
    """One relation of Spark; `shape` are its columns and their DuckDB types.

    The session takes double quotes for identifiers (agreement.py).
    """

    regex_matches = "regexp_like"

    def __init__(self, execute: Callable[[str], Rows], shape: Mapping[str, str]) -> None:
        self.execute = execute
        self.shape = shape

    def columns(self, relation: str) -> list[tuple[str, str]]:  # noqa: ARG002 it is the only one
        return [(name, kind.partition("(")[0]) for name, kind in self.shape.items()]

    def soda_source(self, name: str) -> Any:
        from soda_sparkdf.common.data_sources.sparkdf_data_source import (
            SparkDataFrameDataSource,
            SparkDataFrameDataSourceConnection,
            SparkDataFrameDataSourceModel,
        )

        class Connection(SparkDataFrameDataSourceConnection):  # type: ignore[misc]
            def _fetch_session_timezone(self) -> tzinfo:
                return UTC

        model = SparkDataFrameDataSourceModel(name=name, connection_properties={"new_session": True})
        return SparkDataFrameDataSource(data_source_model=model, connection=Connection(name, {}, DbApi(self.execute)))


class DbApi:
    """A connection and its cursor, as far as Soda asks."""

    def __init__(self, execute: Callable[[str], Rows]) -> None:
        self._execute = execute
        self._found: Rows = Result(())
        self._left: list[Sequence[Any]] = []

    def cursor(self) -> "DbApi":
        return DbApi(self._execute)

    def execute(self, sql: str) -> None:
        self._found = self._execute(sql)
        self._left = list(self._found.fetchall())

    @property
    def description(self) -> Sequence[Sequence[Any]]:
        return self._found.description or ()

    def fetchall(self) -> list[Sequence[Any]]:
        left, self._left = self._left, []
        return left

    def fetchmany(self, size: int) -> list[Sequence[Any]]:
        first, self._left = self._left[:size], self._left[size:]
        return first

    def fetchone(self) -> Sequence[Any] | None:
        return self._left.pop(0) if self._left else None

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...
