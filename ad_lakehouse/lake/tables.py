"""Where a lake's tables are, and how they are created and opened.

Belongs here: names, addresses, creation with our properties, the checks when a table is opened.
Not here: reading commits (log.py), writing rows (the packages that own them).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import obstore
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from obstore.exceptions import AlreadyExistsError
from obstore.exceptions import BaseError as StoreError
from obstore.store import from_url

from ad_lakehouse.errors import ConfigurationError, ForeignTable, NewerFormat, UnreadableTable
from ad_lakehouse.lake.refusals import refused

FORMAT = 1  # raise when older code must not touch what this code writes
FORMAT_PROPERTY = "ad_lakehouse.format"
READABLE_FEATURES = {"timestampNtz"}
CLIENT_OPTIONS = {"allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout", "user_agent"}
LAYERS = ("bronze", "silver", "attribution", "marts", "quality", "ops")


@dataclass(frozen=True, order=True)
class TableName:
    """`layer.table`, for example `bronze.impressions`."""

    layer: str
    table: str

    @classmethod
    def parse(cls, text: str) -> Self:
        layer, _, table = text.partition(".")
        if not (layer and table):
            raise ValueError(f"{text!r} is not layer.table")
        return cls(layer, table)

    def __str__(self) -> str:
        return f"{self.layer}.{self.table}"


@dataclass(frozen=True)
class Lake:
    """A folder or object-store prefix that holds Delta tables at `<root>/<layer>/<table>`.

    In its methods `dev` names a developer whose own tables live under `<root>/_dev/<dev>/`; `None` means the
    published ones.
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)  # some are secrets

    def __post_init__(self) -> None:
        if re.match(r"(s3a?|gs|az|abfss?):/?[^/]", self.root):
            raise ConfigurationError(
                f"Lake {self.root}: two slashes come after the colon.", remedy="For example s3://bucket/lake."
            )
        if "://" not in self.root and set(self.root) & set("%[]*?"):
            raise ConfigurationError(
                f"Lake {self.root}: a folder's path cannot hold any of % [ ] * ?.",
                remedy="Use another folder: readers of Delta and Parquet take these for something else.",
            )

    @property
    def url(self) -> str:
        """The root as a URL without a trailing slash."""
        if "://" in self.root:
            return self.root.rstrip("/")
        return Path(self.root).resolve().as_uri()

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    def uri(self, name: TableName, dev: str | None = None) -> str:
        """Address of a table: a plain path on local disk, else a URL."""
        base = str(Path(self.root).resolve()) if "://" not in self.root else self.url
        return f"{base}/{self._below(name, dev)}"

    def _below(self, name: TableName, dev: str | None) -> str:
        return "/".join([*(["_dev", dev] if dev else []), name.layer, name.table])

    def tables(self, dev: str | None = None) -> list[TableName]:
        """Every table that exists, found by its log folder. Raises `StoreRefused`."""
        if self.is_local and not Path(self.root).is_dir():
            return []
        store = self.store()
        base = f"_dev/{dev}/" if dev else ""
        found: list[TableName] = []
        with self._refused(f"Lake {self.url}"):
            for layer in LAYERS:
                folders = obstore.list_with_delimiter(store, f"{base}{layer}/")["common_prefixes"]
                found += [
                    TableName(layer, folder.rstrip("/").rsplit("/", 1)[-1])
                    for folder in folders
                    if obstore.list_with_delimiter(store, f"{folder}/_delta_log/")["objects"]
                ]
        return sorted(found)

    def _refused(self, where: str) -> AbstractContextManager[None]:
        """What an object store refuses, as `StoreRefused`; a disk's own errors stay as they are."""
        return nullcontext() if self.is_local else refused(where)

    def store(self, *below: str) -> Any:
        """The object store of the root, or of a folder below it. Raises `ConfigurationError` for what it cannot be."""
        url = "/".join([self.url, *below])
        if self.is_local:
            return from_url(url)
        try:
            return from_url(url, **self.object_store_options())
        except StoreError as error:  # nothing has been asked yet
            raise ConfigurationError(
                f"{self.url} is no object store with its storage options: {str(error).splitlines()[0]}",
                remedy="Correct the address or that option; docs/object-store.md names those that are needed.",
            ) from None

    def object_store_options(self) -> dict[str, dict[str, Any]]:
        """The storage options as obstore takes them: those of the HTTP client apart, else it panics."""
        given = {key.lower(): value for key, value in self.storage_options.items()}
        client = {key: value for key, value in given.items() if key.removeprefix("aws_") in CLIENT_OPTIONS}
        return {
            "config": {key: value for key, value in given.items() if key not in client},
            "client_options": {key.removeprefix("aws_"): value for key, value in client.items()},
        }

    def create(
        self,
        name: TableName,
        schema: pa.Schema,
        *,
        partition_by: Sequence[str] = (),
        description: str = "",
        properties: Mapping[str, str] | None = None,
        dev: str | None = None,
    ) -> DeltaTable:
        """Creates the table when it is not there, and opens it. Any number of creators at once make one table.

        The first log entry is made aside and put in place only if there is none: delta-rs' own `mode="ignore"`
        lets two creators both commit, and the second one changes the table's id under the first one's rows.
        """
        existing = self.open_if_exists(name, dev=dev)
        if existing is not None:
            return existing
        first = f"{0:020d}.json"
        with TemporaryDirectory() as aside:
            DeltaTable.create(
                aside,
                schema,
                partition_by=list(partition_by),
                name=str(name),
                description=description or None,
                configuration={
                    FORMAT_PROPERTY: str(FORMAT),
                    "delta.enableDeletionVectors": "false",
                    # Old log entries are removed by maintenance, which knows what consumers still need; Spark would
                    # remove them with any checkpoint.
                    "delta.enableExpiredLogCleanup": "false",
                    # Each commit reads all entries since the last one; with delta-rs' 100 that took half of its time
                    "delta.checkpointInterval": "20",
                    **(properties or {}),
                },
                raise_if_key_not_exists=False,
            )
            content = (Path(aside) / "_delta_log" / first).read_bytes()
        if self.is_local:
            Path(self.root).mkdir(parents=True, exist_ok=True)
        with suppress(AlreadyExistsError):
            obstore.put(self.store(), f"{self._below(name, dev)}/_delta_log/{first}", content, mode="create")
        return self.open(name, dev=dev)

    def open(self, name: TableName, *, version: int | None = None, dev: str | None = None) -> DeltaTable:
        """Opens a table of ours.

        Raises `TableNotFoundError` when it is not there, `ForeignTable`, `NewerFormat` or `UnreadableTable`
        when it is not one that this code may touch, `StoreRefused` when its object store does not let us in.
        """
        where = f"{name} at {self.uri(name, dev)}"
        try:
            with self._refused(where):
                table = DeltaTable(self.uri(name, dev), version=version, storage_options=dict(self.storage_options))
        except DeltaError as error:
            if isinstance(error, TableNotFoundError) or version is not None:  # one that is no longer known
                raise
            raise UnreadableTable(
                f"The log of {where} cannot be read: {str(error).splitlines()[0]}.",  # the rest is its stack
                remedy="It is damaged: restore its folder from a copy, or move it away and land or build anew.",
            ) from None
        check_ours(table, str(name))
        return table

    def open_if_exists(self, name: TableName, *, dev: str | None = None) -> DeltaTable | None:
        try:
            return self.open(name, dev=dev)
        except TableNotFoundError:
            return None


def check_ours(table: DeltaTable, name: str) -> None:
    """Raises unless the table was made by this product, in a format and with features this code knows."""
    configuration = table.metadata().configuration
    written = configuration.get(FORMAT_PROPERTY)
    if written is None:
        raise ForeignTable(
            f"{name} at {table.table_uri} was not created by the ad lakehouse (property {FORMAT_PROPERTY} is missing).",
            remedy="Move that table away, or use another lake.",
        )
    if int(written) > FORMAT:
        raise NewerFormat(
            f"{name} at {table.table_uri} has lake format {written}; this version reads up to {FORMAT}.",
            remedy="Upgrade ad-lakehouse.",
        )
    protocol = table.protocol()
    foreign = set(protocol.reader_features or ()) - READABLE_FEATURES
    mapped = configuration.get("delta.columnMapping.mode", "none") != "none"
    if foreign or mapped:
        raise UnreadableTable(
            f"{name} at {table.table_uri} needs {', '.join(sorted(foreign)) or 'column mapping'}.",
            remedy="Rewrite the table without it.",
        )
