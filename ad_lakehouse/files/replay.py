"""Replay: rejected rows decoded once more, and those now accepted moved to their day in one commit.

Belongs here: reading rejected rows in bounded memory, decoding, the merge. Not here: listing them (quarantine.py),
why a row is rejected (kafka_sinks/decode).

The move is a merge that rewrites each row where it stands: no version of the table lacks the row, none has two of
it. The row keeps its origin, batch and landing time, so the ledger's counts stay as they are. A sink that commits
rejected rows meanwhile makes the merge fail and run again on the newer version; a row that another replay has moved
is not found any more, and nothing happens to it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, WriterProperties
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.files.quarantine import EVERYTHING, Filter
from ad_lakehouse.files.reading import reject_cut
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import BATCH_KEY
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.settings import Settings
from kafka_sinks.commit import ATTEMPTS, BronzeTable, CommitContended
from kafka_sinks.csv_headers import CSV_HEADER, decode_with_headers
from kafka_sinks.decode import SchemaRegistry, decode_batch, open_registry, parse_header
from kafka_sinks.origin import bronze_rows, origins, reasons, reject_before
from kafka_sinks.sources import Source, bronze_schema

WRITER = WriterProperties(compression="ZSTD", compression_level=1)
SAME_ROW = (
    "t.event_date is null and t._batch = s._batch and coalesce(t._partition, -1) = coalesce(s._partition, -1) "
    "and coalesce(t._offset, t._row) = coalesce(s._offset, s._row)"
)
ORIGIN = (
    "_topic",
    "_partition",
    "_offset",
    "_timestamp",
    "_key",
    "_headers",
    "_file",
    "_row",
    "_landed_at",
    "_batch",
)
CHUNK = 10_000  # rows fetched at once: fewer than a batch, so that a batch's bytes stay near their bound


@dataclass
class ReplayReport:
    """What a replay did to one table: rows that are now accepted, rows still rejected (by their reason now)."""

    source: str
    accepted: int = 0
    still: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    error: LakehouseError | None = None  # why it could not go on, as without a registry


def replay(
    lake: Lake, sources: Mapping[str, Source], settings: Settings, only: Filter = EVERYTHING
) -> list[ReplayReport]:
    """Decodes rejected rows with the sources as they are now; moves those that are accepted. Idempotent."""
    reports = []
    for name in lake.tables():
        if name.layer == "bronze" and name.table in sources and only.source in (None, name.table):
            reports.append(ReplayReport(name.table))
            try:
                replay_table(lake, sources[name.table], settings, reports[-1], only)
            except LakehouseError as error:  # of one source; the others are done
                reports[-1].error = error
    return reports


def replay_table(lake: Lake, source: Source, settings: Settings, report: ReplayReport, only: Filter) -> None:
    """Replays the rejected rows of one table, a batch at a time, each batch one commit."""
    name = TableName("bronze", source.name)
    registry = open_registry(settings.kafka.schema_registry, settings.kafka.schema_registry_auth)
    # Opened as for landing, which adds the columns a source has got since: the merge would drop their values.
    day = BronzeTable(lake, name, bronze_schema(source)).retained_from
    for rejected in rejected_batches(lake, name, bronze_schema(source), settings, only):
        decoded = decode_again(source, rejected, settings, registry)
        decoded = reject_before(day, decoded, lambda mask: pa.nulls(len(mask), pa.binary()))  # stays as it is
        accepted = decoded.filter(pc.is_null(decoded["_reason"]))
        report.still += reasons(decoded)
        if accepted.num_rows:
            report.accepted += move(lake, name, accepted)
            report.commits += 1


def rejected_batches(
    lake: Lake, name: TableName, schema: pa.Schema, settings: Settings, only: Filter
) -> Iterator[pa.Table]:
    """The rejected rows of one version, in batches bounded by rows and by bytes."""
    where, values = only.where()
    with connect(lake) as connection:
        snapshot = Snapshot.of(name, lake.open(name))
        query = snapshot.query(connection, snapshot.rejected())
        columns = ", ".join(f'"{column}"' for column in schema.names if column in snapshot.columns)
        found = connection.sql(f"select {columns} from ({query}) where {where}", params=values)
        held: list[pa.RecordBatch] = []
        for chunk in found.to_arrow_reader(CHUNK):
            held.append(chunk)
            full = sum(each.num_rows for each in held) >= settings.landing.max_batch_rows
            if full or sum(each.nbytes for each in held) >= settings.landing.max_batch_bytes // 2:
                yield fitted(pa.Table.from_batches(held), schema)
                held = []
        if held:
            yield fitted(pa.Table.from_batches(held), schema)


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in the columns of `schema`; columns the table does not have yet are null."""
    columns = [
        rows[column.name].cast(column.type) if column.name in rows.column_names else pa.nulls(len(rows), column.type)
        for column in schema
    ]
    return pa.table(columns, schema=schema)


def decode_again(source: Source, rejected: pa.Table, settings: Settings, registry: SchemaRegistry | None) -> pa.Table:
    """The rows as their raw bytes are decoded now, each with the origin it has; in no particular order."""
    parts = []
    for header, rows in by_header(source, rejected):
        times = rows["_landed_at"] if source.dimension else pc.coalesce(rows["_timestamp"], rows["_landed_at"])
        told_apart = origins_of(rows) if source.without_id == "keep" else None
        raw, times = rows["_raw"].combine_chunks(), times.combine_chunks()
        how: dict[str, Any] = {"limits": settings.landing, "registry": registry, "origins": told_apart}
        if header:
            decoded = decode_batch(source, raw, times, header=parse_header(header), **how)
        else:  # a record of a topic may bring its own
            decoded = decode_with_headers(source, raw, times, rows["_headers"].combine_chunks(), **how)
        if source.wire != "avro":  # a record of a topic is whole, however long
            from_files = pc.if_else(pc.is_valid(rows["_file"]), rows["_raw"], None).combine_chunks()
            decoded = reject_cut(decoded, from_files)
        landing = {column: rows[column].combine_chunks() for column in ORIGIN}
        if header:  # it was kept for this moment only
            landing["_headers"] = pc.if_else(pc.is_valid(decoded["_reason"]), landing["_headers"], None)
        parts.append(bronze_rows(rejected.schema, decoded, **landing))
    return pa.concat_tables(parts)


def by_header(source: Source, rejected: pa.Table) -> Iterator[tuple[bytes | None, pa.Table]]:
    """Rejected rows by the header of the CSV file they came from; None for rows that have none."""
    rows = rejected.combine_chunks()
    if source.wire != "csv":
        yield None, rows
        return
    first = pc.list_element(pc.if_else(pc.is_valid(rows["_file"]), rows["_headers"], None), 0)
    headers = pc.if_else(pc.equal(pc.struct_field(first, "key"), CSV_HEADER), pc.struct_field(first, "value"), None)
    for header in pc.unique(headers).to_pylist():
        mask = pc.is_null(headers) if header is None else pc.fill_null(pc.equal(headers, header), False)
        yield header, rows.filter(mask).combine_chunks()


def origins_of(rows: pa.Table) -> pa.StringArray:
    """The same texts as at the first landing."""
    column = {name: rows[name].combine_chunks() for name in ORIGIN}
    topic = origins(column["_topic"], column["_partition"], column["_offset"], column["_timestamp"])
    file = origins(column["_file"], None, column["_row"], column["_timestamp"])
    return pc.coalesce(topic, file)


def move(lake: Lake, name: TableName, accepted: pa.Table) -> int:
    """Rewrites the rejected rows with the same origin as `accepted`, in one commit; returns how many were there."""
    for _ in range(ATTEMPTS):
        table = lake.open(name)
        merge = table.merge(
            accepted,
            SAME_ROW,
            source_alias="s",
            target_alias="t",
            writer_properties=WRITER,
            commit_properties=CommitProperties(
                custom_metadata={BATCH_KEY: json.dumps({"kind": "replay", "rows": accepted.num_rows})}
            ),
        )
        try:
            return int(merge.when_matched_update_all().execute()["num_target_rows_updated"])
        except CommitFailedError:
            continue
    raise CommitContended(
        f"{name}: other writers committed first {ATTEMPTS} times in a row.",
        remedy="Nothing was moved. Replay again when fewer rejected rows arrive.",
    )
