"""The inputs of a model, as its compiled SQL names them.

Belongs here: the names `"layer.table[-30..0]"` and `"layer.table[all]"`, finding them in SQL, the hash of a
model's code. Not here: the macros that write the names (dbt_project/macros/lake.sql), the rows behind them (pins.py).

A name says the days that one output day reads, not the days being rebuilt. So the compiled SQL does not depend on
the plan, and its hash covers all that decides the result: the model, the macros it reaches, variables, look-backs.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from ad_lakehouse.dbt_delta.plan import Dependency
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.tables import LAYERS

DUCKDB = "duckdb"
SPARK = "spark"
SEMANTICS = 1  # raise when this package computes something else from the same compiled SQL
NAME = re.compile(rf"((?:{'|'.join(LAYERS)})\.\w+)\[(?:(all)|(?:-?(\d+)\.\.(\d+)))\]")


class ModelError(LakehouseError):
    """A model cannot be built as it is written: names the model, what is wrong, and how to write it."""

    exit_code = 7


def input_name(dependency: Dependency) -> str:
    """`silver.impressions[-30..0]`; the macros render the same."""
    if dependency.window is None:
        return f"{dependency.table}[all]"
    before, after = dependency.window
    return f"{dependency.table}[{-before}..{after}]"


def parse_input_name(text: str) -> Dependency | None:
    found = NAME.fullmatch(text)
    if found is None:
        return None
    table, whole, before, after = found.groups()
    return Dependency(table, None if whole else (int(before), int(after)))


def dependencies(sql: str, engine: str = DUCKDB) -> frozenset[Dependency]:
    """The inputs of a compiled model. Raises `ModelError` when it reads a table without naming which days of it.

    A parser finds the tables, so names in comments and strings do not count: DuckDB's own, and sqlglot's for Spark.
    """
    found: set[Dependency] = set()
    for schema, table, function in reads_on_spark(sql) if engine == SPARK else reads(sql):
        if schema:
            raise ModelError(
                f"It reads {schema}.{table} without saying which days an output day needs.",
                remedy=f"Write lake_days(ref('{table}'), before, after) or lake_all(ref('{table}')) in double"
                " braces, with source(…) for a landed table.",
            )
        if function.startswith("read_") or function.endswith("_scan"):
            raise ModelError(
                f"It reads files by {function}(), whose changes nobody sees.",
                remedy="Land the files as a table and read that one.",
            )
        dependency = parse_input_name(table)
        if dependency is not None:
            found.add(dependency)
    return frozenset(found)


def reads(sql: str) -> Iterator[tuple[str, str, str]]:
    """Schema, table, and table function of each thing that DuckDB's SQL reads from."""
    for node in walk(parsed(sql)):
        if node.get("type") == "BASE_TABLE":
            yield str(node["schema_name"]), str(node["table_name"]), ""
        elif node.get("type") == "TABLE_FUNCTION":
            yield "", "", str((node.get("function") or {}).get("function_name", ""))


def reads_on_spark(sql: str) -> Iterator[tuple[str, str, str]]:
    """The same of Spark's SQL, where files are read as `parquet.`path``."""
    from sqlglot import exp, parse_one  # half a second to load, for builds on Spark alone
    from sqlglot.errors import SqlglotError

    try:
        tree = parse_one(sql, dialect="spark")
    except SqlglotError as error:
        raise ModelError(f"Its SQL cannot be parsed: {error}.") from None
    for table in tree.find_all(exp.Table):
        yield table.db, table.name, ""


def parsed(sql: str) -> Any:
    """DuckDB's syntax tree. Raises `ModelError`."""
    with duckdb.connect(":memory:") as connection:
        tree = json.loads(connection.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0])
    if tree.get("error"):
        raise ModelError(f"Its SQL cannot be parsed: {tree.get('error_message')}.")
    return tree


def walk(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every object of a syntax tree."""
    waiting = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def code_hash(sql: str, config: Mapping[str, Any]) -> str:
    """SHA-256 of all that decides a model's result besides the rows of its inputs."""
    content = json.dumps([SEMANTICS, sql, config], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
