"""Arrow rows as Parquet data files of a Delta table, written but not yet committed.

Belongs here: splitting rows by day, Parquet settings, the statistics that the log keeps of a file. Not here: the commit
(kafka_sinks/commit.py), reading (views.py).

They are written apart from the commit so that, when another writer commits first, the files stay and only the commit
is tried again. PyArrow also takes some less processor time than delta-rs (`python -m benchmarks.parquet_writers`).
"""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import obstore
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

DAY = "event_date"
NO_DAY = "__HIVE_DEFAULT_PARTITION__"


def write_files(store: Any, rows: pa.Table, *, without_dictionary: Sequence[str] = ()) -> list[AddAction]:
    """Writes the rows below the store of a table that is partitioned by `event_date`: one file a day.

    `without_dictionary`: texts that hardly repeat. Raises obstore's errors when the store refuses; files
    that are never committed stay until a vacuum.
    """
    return [
        _write(store, day, part, sorted(repeating(part.schema) - set(without_dictionary))) for day, part in by_day(rows)
    ]


def by_day(rows: pa.Table) -> Iterator[tuple[date | None, pa.Table]]:
    """The rows of each day, in their order, without the column of the day."""
    days = rows[DAY].combine_chunks()
    rows = rows.drop_columns([DAY])
    found = pc.value_counts(days)
    if len(found) == 1:
        yield found[0]["values"].as_py(), rows
        return
    if len(found):
        # One pass for any number of days; Arrow's sort keeps the order of equal values.
        rows = rows.take(pc.sort_indices(days))
    start = 0
    counted = [(each["values"].as_py(), each["counts"].as_py()) for each in found]
    for day, count in sorted(counted, key=lambda each: (each[0] is None, each[0])):
        yield day, rows.slice(start, count)
        start += count


def _write(store: Any, day: date | None, rows: pa.Table, dictionary: Sequence[str]) -> AddAction:
    value = None if day is None else day.isoformat()
    path = f"{DAY}={quote(value or NO_DAY)}/part-00000-{uuid4()}-c000.zstd.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=list(dictionary),
        write_statistics=bounded(rows.schema),
        store_schema=False,  # Arrow's own copy of the schema: 2 kB of each file that other readers cannot use
    )
    content = sink.getvalue().to_pybytes()
    obstore.put(store, path, content)
    return AddAction(path, len(content), {DAY: value}, int(time.time() * 1000), True, json.dumps(statistics(rows)))


def repeating(schema: pa.Schema) -> set[str]:
    """The Parquet columns that are worth a dictionary: texts, those of a list in a column of their own.

    Numbers and times are written faster, and as small, without.
    """
    lists = {each.name: each.type.value_type for each in schema if pa.types.is_list(each.type)}
    texts = {each.name for each in schema if pa.types.is_string(each.type) or pa.types.is_binary(each.type)}
    return texts | {f"{name}.list.element" for name, kind in lists.items() if pa.types.is_string(kind)}


def bounded(schema: pa.Schema) -> list[str]:
    """The columns whose bounds are kept: whole numbers and times.

    Not texts: ids are spread evenly, so no file could be skipped by them, and the log, which every reader reads, would
    be several times as long.
    """
    return [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
    ]


def statistics(rows: pa.Table) -> dict[str, Any]:
    """What the log keeps of a file: its rows, the nulls of each column, the bounds of some."""
    bounds = {name: pc.min_max(rows[name]) for name in bounded(rows.schema)}
    known = {name: each for name, each in bounds.items() if all(is_told(each[end]) for end in ("min", "max"))}
    return {
        "numRecords": rows.num_rows,
        "minValues": {name: written(each["min"]) for name, each in known.items()},
        "maxValues": {name: written(each["max"]) for name, each in known.items()},
        "nullCount": {
            field.name: rows[field.name].null_count for field in rows.schema if not pa.types.is_nested(field.type)
        },
    }


def is_told(value: pa.Scalar) -> bool:
    """Whether a bound can be written: there is one, and if it is a time, its year has four digits."""
    if not value.is_valid or pa.types.is_integer(value.type):
        return bool(value.is_valid)
    return bool(1 <= pc.year(value).as_py() <= 9999)


def written(value: pa.Scalar) -> Any:
    """A bound as the log writes it: times in UTC with microseconds."""
    plain = value.as_py()
    if isinstance(plain, datetime):
        return plain.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return plain.isoformat() if isinstance(plain, date) else plain
