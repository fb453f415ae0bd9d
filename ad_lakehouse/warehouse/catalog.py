"""The lake's schemas in one catalog of Trino: what is there and where, and its procedures.

Belongs here: the statements. Not here: which tables ought to be there (register.py).
"""

import re
from collections.abc import Iterable

from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.tables import LAYERS
from ad_lakehouse.warehouse.trino import Trino, TrinoError, literal, quoted

LOCATION = re.compile(r"^\s*location = '((?:[^']|'')*)'", re.MULTILINE)
NO_LOG = "DELTA_LAKE_INVALID_SCHEMA"  # nothing is where the table was registered


class Catalog:
    """`prefix` stands before each layer's name. All methods raise `TrinoError`."""

    def __init__(self, trino: Trino, name: str, prefix: str = "") -> None:
        self._trino, self._name, self._prefix = trino, quoted(name), prefix

    def schema(self, layer: str) -> str:
        return f"{self._prefix}{layer}"

    def tables(self) -> dict[TableName, str | None]:
        """The location of each table in the lake's schemas; None when nothing is there any more."""
        layers = {self.schema(layer): layer for layer in LAYERS}
        listed = self._trino.rows(
            f"select table_schema, table_name from {self._name}.information_schema.tables "
            f"where table_schema in ({', '.join(map(literal, layers))}) and table_type = 'BASE TABLE'"
        )
        names = [TableName(layers[schema], table) for schema, table in listed]
        return {name: self.location(name) for name in names}

    def location(self, name: TableName) -> str | None:
        try:
            ((text,),) = self._trino.rows(
                f"show create table {self._name}.{quoted(self.schema(name.layer))}.{quoted(name.table)}"
            )
        except TrinoError as error:
            if error.name == NO_LOG:
                return None
            raise
        # The properties come last, behind whatever a comment says
        return str(LOCATION.findall(text)[-1]).replace("''", "'").rstrip("/")

    def make_schemas(self, layers: Iterable[str]) -> None:
        """In the metastore's own warehouse folder, which stays empty: tables are where the lake has them."""
        for layer in sorted(layers):
            self._trino.rows(f"create schema if not exists {self._name}.{quoted(self.schema(layer))}")

    def add(self, name: TableName, location: str) -> None:
        self._call("register_table", self.schema(name.layer), name.table, location)

    def remove(self, name: TableName) -> None:
        """Takes the name out of the catalog; data stay. One that is out already is fine."""
        try:
            self._call("unregister_table", self.schema(name.layer), name.table)
        except TrinoError as error:
            if error.name not in ("TABLE_NOT_FOUND", "NOT_FOUND"):
                raise

    def forget(self) -> None:
        """Nothing that Trino remembers of any table is used by the next query."""
        self._call("flush_metadata_cache")

    def _call(self, procedure: str, *arguments: str) -> None:
        self._trino.rows(f"call {self._name}.system.{procedure}({', '.join(map(literal, arguments))})")
