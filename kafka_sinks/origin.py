"""Where each row came from: the landing columns beside the decoded ones.

Belongs here: completing decoded rows to bronze rows, batch ids, the origin that makes identical records distinct.
Not here: the columns' types (sources.py), decoding.
"""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import LakehouseError
from kafka_sinks.decode.verdicts import Reason


class DecoderLostRows(LakehouseError):
    """A decoder gave another number of rows than records: landing them would break the count."""

    exit_code = 26


def batch_id(now: datetime, random: UUID) -> str:
    """A name for one batch: sorts by time, unique by the random part."""
    return f"{now:%Y%m%dT%H%M%S%f}-{random.hex[:12]}"


def bronze_rows(schema: pa.Schema, decoded: pa.Table, **landing: pa.Array | str | datetime | None) -> pa.Table:
    """Decoded rows with their landing columns, in the columns of `schema`.

    A landing column is an array with one value a row, or one value for all rows; those not given are null. Raises
    `DecoderLostRows` when the arrays and the decoded rows differ in number.
    """
    count = decoded.num_rows
    columns = []
    for column in schema:
        value = decoded[column.name] if column.name in decoded.column_names else landing.get(column.name)
        if isinstance(value, pa.Array | pa.ChunkedArray):
            if len(value) != count:
                raise DecoderLostRows(
                    f"{len(value)} records were decoded to {count} rows.",
                    remedy="Nothing was landed. This is a fault of the decoder: please report it with a sample.",
                )
            columns.append(value.cast(column.type))
        else:
            columns.append(pa.repeat(pa.scalar(value, column.type), count))
    return pa.table(columns, schema=schema)


def reasons(rows: pa.Table) -> Counter[str]:
    """Rejected rows by reason."""
    counted = pc.value_counts(rows["_reason"].combine_chunks().drop_null())
    return Counter({each["values"]: each["counts"] for each in counted.to_pylist()})


def origins(place: pa.Array | str, partitions: pa.Array | None, numbers: pa.Array, times: pa.Array) -> pa.StringArray:
    """One text a row that tells the record from every other: the origin of records that are to stay distinct.

    `place` is the topic or file, `numbers` offsets or rows. Made of what stands in the row itself, so that a replay
    gives the same; the record's time tells a recreated topic's offset 0 from the first topic's.
    """
    inner = numbers if partitions is None else joined_text(partitions, numbers)
    return joined_text(place, inner, pc.fill_null(times.cast(pa.int64()), -1))


def joined_text(*parts: pa.Array | str) -> pa.StringArray:
    """Parts joined by colons."""
    texts = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, ":")


def reject_before(day: date | None, rows: pa.Table, raw: Callable[[pa.BooleanArray], pa.BinaryArray]) -> pa.Table:
    """The rows, those of days that retention has deleted rejected: their day will not be built again.

    `raw` gives the bytes of the marked records, asked for only when there are some.
    """
    if day is None:
        return rows
    mask = pc.fill_null(pc.less(rows["event_date"], pa.scalar(day)), False).combine_chunks()
    if not pc.any(mask).as_py():
        return rows
    return rejected(rows, mask, "after_retention", f"the table keeps days from {day} on", raw(mask))


def rejected(rows: pa.Table, mask: pa.BooleanArray, reason: Reason, error: str, raw: pa.BinaryArray) -> pa.Table:
    """The rows, the marked ones rejected for one reason: they keep where they came from, and get their bytes."""
    filled = {"_reason": pa.scalar(reason), "_error": pa.scalar(error), "_raw": raw}
    landing = {"_topic", "_partition", "_offset", "_timestamp", "_key", "_headers", "_file", "_row"}
    columns = []
    for column in rows.schema:
        if column.name in landing | {"_landed_at", "_batch"}:
            columns.append(rows[column.name])
        else:
            value = filled.get(column.name, pa.scalar(None, column.type))
            columns.append(pc.if_else(mask, value, rows[column.name]).cast(column.type))
    return pa.table(columns, schema=rows.schema)
