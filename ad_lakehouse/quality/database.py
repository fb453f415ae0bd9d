"""Where audited rows are: an engine that runs SQL.

Belongs here: what an audit needs of an engine, and DuckDB's answer. Not here: Spark's (dbt_spark/audit.py), what is
checked (audit.py).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import duckdb


class Rows(Protocol):
    """The result of a query."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None: ...

    def fetchall(self) -> Sequence[Sequence[Any]]: ...


class Database(Protocol):
    """An engine under its names of tables, quoted by double quotes."""

    regex_matches: str  # the function (text, pattern) that tells whether a text contains a match

    def execute(self, sql: str) -> Rows: ...

    def columns(self, relation: str) -> list[tuple[str, str]]:
        """Name and DuckDB's name of the type, in lower case, of each column of a quoted relation."""

    def soda_source(self, name: str) -> Any:
        """Soda's data source on this engine. Imports Soda."""


class DuckDB:
    """The tables and views that a cursor sees."""

    regex_matches = "regexp_matches"

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor

    def execute(self, sql: str) -> Rows:
        found: Rows = self.cursor.execute(sql)
        return found

    def columns(self, relation: str) -> list[tuple[str, str]]:
        found = self.cursor.execute(f"describe {relation}").fetchall()
        return [(row[0], row[1].partition("(")[0].lower()) for row in found]

    def soda_source(self, name: str) -> Any:
        from soda_duckdb.common.data_sources.duckdb_data_source import DuckDBDataSourceImpl

        return DuckDBDataSourceImpl.from_existing_cursor(self.cursor, name=name)


def of(database: "duckdb.DuckDBPyConnection | Database") -> Database:
    """A DuckDB cursor as a database; another one as it is."""
    return DuckDB(database) if isinstance(database, duckdb.DuckDBPyConnection) else database
