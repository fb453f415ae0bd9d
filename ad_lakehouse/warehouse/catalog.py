"""The lake's schemas in one catalog of Trino: what is there and where, and its procedures.

Belongs here: the statements. Not here: which tables ought to be there (register.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.tables import LAYERS
from ad_lakehouse.warehouse.trino import CatalogUnfit, Trino, TrinoError, TrinoUnreachable, literal, quoted

LOCATION = re.compile(r"^\s*location = '((?:[^']|'')*)'", re.MULTILINE)
NO_LOG = "Metadata not found in transaction log"  # the error's name is also that of a store that cannot be asked


@dataclass(frozen=True)
class Unread:
    """Trino could not say where a table is, and why."""

    why: str


Place = str | Unread | None  # None: nothing is there any more


class Catalog:
    """`prefix` stands before each layer's name. All methods raise `TrinoError`."""

    def __init__(self, trino: Trino, name: str, prefix: str = "") -> None:
        self._trino, self._name, self._prefix = trino, quoted(name), prefix

    def schema(self, layer: str) -> str:
        return f"{self._prefix}{layer}"

    def tables(self) -> dict[TableName, Place]:
        """Where each table in the lake's schemas is."""
        layers = {self.schema(layer): layer for layer in LAYERS}
        listed = self._trino.rows(
            f"select table_schema, table_name from {self._name}.information_schema.tables "
            f"where table_schema in ({', '.join(map(literal, layers))}) and table_type = 'BASE TABLE'"
        )
        names = [TableName(layers[schema], table) for schema, table in listed]
        return {name: self.place(name) for name in names}

    def place(self, name: TableName) -> Place:
        full = f"{self._name}.{quoted(self.schema(name.layer))}.{quoted(name.table)}"
        try:
            ((text,),) = self._trino.rows(f"show create table {full}")
        except (TrinoUnreachable, CatalogUnfit):
            raise
        except TrinoError as error:
            return None if NO_LOG in error.message else Unread(error.message)
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
