"""Delta tables as DuckDB views: one pinned version, the Delta schema, only the days that are asked for.

Belongs here: turning a `DeltaTable` into a query, and a lake into a connection with one view a table.
Not here: deciding which days (dbt_delta), writing.

DuckDB reads the Parquet files itself (faster than its Delta scan, and no extension to install). The view's
columns are those of the Delta schema: a column that no file has yet is a typed NULL, a table without files
gives no rows. Rejected rows stand in the null `event_date` partition of bronze tables: they are left out of
a table's view and shown by `quarantine`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote, urlparse

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from ad_lakehouse.lake.retention import retained_from
from ad_lakehouse.lake.tables import Lake, TableName

DUCKDB_TYPES = {
    pa.string(): "varchar",
    pa.large_string(): "varchar",
    pa.string_view(): "varchar",
    pa.binary(): "blob",
    pa.large_binary(): "blob",
    pa.binary_view(): "blob",
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamptz",
    pa.timestamp("us"): "timestamp",
}
QUARANTINE_COLUMNS = {
    "_reason": "varchar",
    "_error": "varchar",
    "_raw": "blob",
    "_topic": "varchar",
    "_partition": "integer",
    "_offset": "bigint",
    "_file": "varchar",
    "_row": "bigint",
    "_landed_at": "timestamptz",
    "_batch": "varchar",
}


def quoted(identifier: str) -> str:
    """A quoted SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def duckdb_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type, nested ones included."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "struct(" + ", ".join(f"{quoted(each.name)} {duckdb_type(each.type)}" for each in kind) + ")"
    if pa.types.is_map(kind):
        return f"map({duckdb_type(kind.key_type)}, {duckdb_type(kind.item_type)})"
    return DUCKDB_TYPES[kind]


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table version."""

    uri: str
    day: date | None
    size: int
    rows: int | None


@dataclass(frozen=True)
class Snapshot:
    """One pinned version of one table: all that a query of it needs."""

    name: TableName
    table_id: str
    version: int
    columns: Mapping[str, str]  # name → DuckDB type, the Delta schema's order
    partition: str | None
    files: tuple[DataFile, ...]
    retained_from: date | None = None  # older days were deleted on purpose

    @classmethod
    def of(cls, name: TableName, table: DeltaTable) -> "Snapshot":
        metadata = table.metadata()
        partition = metadata.partition_columns[0] if metadata.partition_columns else None
        schema = pa.schema(table.schema().to_arrow())
        actions = pa.table(table.get_add_actions(flatten=True))
        days = actions[f"partition.{partition}"].to_pylist() if partition else [None] * actions.num_rows
        base = table.table_uri.rstrip("/")
        if base.startswith("file://"):  # percent-encoded; DuckDB takes plain paths
            base = unquote(base.removeprefix("file://"))
        files = zip(
            actions["path"].to_pylist(),
            days,
            actions["size_bytes"].to_pylist(),
            actions["num_records"].to_pylist() if "num_records" in actions.column_names else [None] * actions.num_rows,
            strict=True,
        )
        return cls(
            name,
            str(metadata.id),
            table.version(),
            {each.name: duckdb_type(each.type) for each in schema},
            partition,
            tuple(DataFile(f"{base}/{path}", day, size, rows) for path, day, size, rows in files),
            retained_from(table),
        )

    def accepted(self, days: Collection[date] | None = None) -> list[DataFile]:
        """Files with rows that count: all but the null partition, or those of `days`."""
        if self.partition is None:
            return list(self.files)
        return [file for file in self.files if file.day is not None and (days is None or file.day in days)]

    def rejected(self) -> list[DataFile]:
        """Files of the null partition."""
        return [file for file in self.files if file.day is None] if self.partition else []

    def query(self, connection: duckdb.DuckDBPyConnection, files: Collection[DataFile]) -> str:
        """A SELECT of the Delta schema's columns over `files`."""
        if not files:
            nulls = ", ".join(f"cast(null as {kind}) as {quoted(name)}" for name, kind in self.columns.items())
            return f"select {nulls} where false"
        source = scan(files, self.partition)
        there = {row[0] for row in connection.execute(f"describe select * from {source}").fetchall()}
        columns = ", ".join(
            f"cast({quoted(name) if name in there else 'null'} as {kind}) as {quoted(name)}"
            for name, kind in self.columns.items()
        )
        return f"select {columns} from {source}"


def scan(files: Collection[DataFile], partition: str | None) -> str:
    """DuckDB's table function over the files."""
    uris = ", ".join(literal(file.uri) for file in files)
    types = f", hive_partitioning=true, hive_types={{{literal(partition)}: date}}" if partition else ""
    return f"read_parquet([{uris}], union_by_name=true{types})"


def connect(lake: Lake | None = None, **config: Any) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB whose time zone is UTC; with a lake, one that can read its files wherever they are."""
    connection = duckdb.connect(":memory:", config=config)
    prepare(connection)
    if lake is not None:
        reach(connection, lake)
    return connection


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Settings every connection of ours has; global ones, since cursors do not inherit those of a session."""
    connection.execute("set global timezone = 'UTC'")
    # A view opens the footer of each file when it is made and when it is read; files never change.
    connection.execute("set global parquet_metadata_cache = true")


def reach(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Lets DuckDB read the lake's files on an object store, through obstore: there is no extension to install."""
    if lake.is_local:
        return
    from obstore.fsspec import FsspecStore  # takes 0.2 s to load, which a lake on disk need not wait for

    scheme = urlparse(lake.url).scheme
    if scheme in connection.list_filesystems():  # of another lake, or with other credentials
        connection.unregister_filesystem(scheme)
    connection.register_filesystem(FsspecStore(scheme, **lake.object_store_options()))


def define_views(
    connection: duckdb.DuckDBPyConnection, lake: Lake, dev: str | None = None
) -> dict[TableName, Snapshot]:
    """One view for each table of the lake as it is now, and `quarantine` over all bronze tables.

    With `dev`, a table that the developer has built stands in for the published one. Returns what was pinned.
    """
    reach(connection, lake)
    snapshots = {name: Snapshot.of(name, lake.open(name)) for name in lake.tables()}
    if dev:
        snapshots |= {name: Snapshot.of(name, lake.open(name, dev=dev)) for name in lake.tables(dev)}
    for snapshot in snapshots.values():
        define_view(connection, snapshot)
    define_quarantine(connection, list(snapshots.values()))
    return snapshots


def define_view(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """The view `layer.table` of one snapshot."""
    connection.execute(f"create schema if not exists {quoted(snapshot.name.layer)}")
    connection.execute(
        f"create or replace view {quoted(snapshot.name.layer)}.{quoted(snapshot.name.table)} as "
        + snapshot.query(connection, snapshot.accepted())
    )


def define_quarantine(connection: duckdb.DuckDBPyConnection, snapshots: Collection[Snapshot]) -> None:
    """The view `quarantine`: rejected rows of every bronze table, with the table's name."""
    parts = []
    for snapshot in snapshots:
        if snapshot.name.layer == "bronze":
            rows = snapshot.query(connection, snapshot.rejected())
            columns = ", ".join(quoted(column) for column in QUARANTINE_COLUMNS)
            parts.append(f"select {literal(snapshot.name.table)} as source, {columns} from ({rows})")
    nulls = ", ".join(f"cast(null as {kind}) as {quoted(name)}" for name, kind in QUARANTINE_COLUMNS.items())
    empty = f"select cast(null as varchar) as source, {nulls} where false"
    connection.execute("create or replace view quarantine as " + " union all ".join(parts or [empty]))
