"""Where each row came from: the landing columns beside the decoded ones.

Belongs here: completing decoded rows to bronze rows, batch ids, the origin that makes identical records distinct.
Not here: the columns' types (sources.py), decoding.
"""

from collections import Counter
from datetime import datetime
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.errors import LakehouseError


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


def joined_text(*parts: pa.Array | str) -> pa.StringArray:
    """Parts joined by colons, one text a row: the origin of a record without an id that is to stay distinct."""
    texts = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, ":")
