"""SQL over a whole lake: one query or a prompt, shown as a table, CSV or JSON.

Belongs here: running a user's query on DuckDB views of every table. Not here: how the views are made (lake/views.py).
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, TextIO

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake
from ad_lakehouse.lake.views import connect, define_views

SHOWN = 200  # rows of a table on a terminal; CSV and JSON are never cut


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class QueryError(LakehouseError):
    """The user's SQL is wrong."""

    exit_code = 6


def open_lake(lake: Lake, dev: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with a view for each table, and `quarantine`."""
    connection = connect(lake)
    define_views(connection, lake, dev)
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, query: str, form: Format, out: TextIO | None = None) -> int:
    """Runs one query and prints its rows; returns how many there were. Raises `QueryError`."""
    try:
        result = connection.execute(query)
        if result is None:  # nothing but spaces and comments
            return 0
        names = [column[0] for column in result.description or []]
        return PRINTERS[form](names, fetched(result), out or sys.stdout)
    except duckdb.Error as error:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema <> 'main' order by 1"
        ).fetchall()
        known = ", ".join(row[0] for row in tables) or "none yet: run `ad-lakehouse land`"
        raise QueryError(str(error).strip(), remedy=f"Tables: {known}.") from None


def fetched(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := result.fetchmany(10_000):
        yield from rows


def plain(value: Any) -> Any:
    """A value that JSON holds without loss: dates and times ISO 8601, decimals and bytes as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")  # not 0E-9
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


def print_json(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> int:
    """One JSON object a line."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 the last value is the result
        out.write(json.dumps(dict(zip(names, row, strict=True)), default=plain, ensure_ascii=False) + "\n")
    return count


def print_csv(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> int:
    """RFC 4180 with a header; null is an empty field."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 the last value is the result
        writer.writerow(plain(value) for value in row)
    return count


def print_table(names: list[str], rows: Iterable[tuple[Any, ...]], out: TextIO) -> int:
    """A table for people, cut after `SHOWN` rows with a note that says so."""
    remaining = iter(rows)
    table = Table(*names, header_style="bold")
    shown = list(islice(remaining, SHOWN))
    for row in shown:
        table.add_row(*(Text("" if value is None else str(plain(value))) for value in row))
    console = Console(file=out, width=None if out.isatty() else max(120, 16 * len(names)))
    console.print(table)
    rest = sum(1 for _ in remaining)
    if rest:
        console.print(f"… and {rest:,} more rows; --format csv prints all.")
    return len(shown) + rest


PRINTERS = {Format.TABLE: print_table, Format.CSV: print_csv, Format.JSON: print_json}


def prompt(lake: Lake, dev: str | None = None) -> None:
    """Reads queries until end of input; a query ends with `;`. `.tables` lists, `.refresh` pins anew, `.quit` ends."""
    connection = open_lake(lake, dev)
    print(f"DuckDB over {lake.root}. End a query with ;   .tables   .refresh   .quit", file=sys.stderr)  # noqa: T201
    waiting = ""
    while True:
        try:
            line = input("lake> " if not waiting else "  ... ")
        except EOFError:
            return
        if not waiting and line.strip().startswith("."):
            command = line.strip()
            if command in {".quit", ".exit"}:
                return
            if command == ".refresh":
                connection = open_lake(lake, dev)
                continue
            waiting = "select table_schema, table_name from information_schema.tables order by all;"
        else:
            waiting += line + "\n"
        if waiting.rstrip().endswith(";"):
            try:
                run_query(connection, waiting, Format.TABLE)
            except QueryError as error:
                print(error, file=sys.stderr)  # noqa: T201
            waiting = ""
