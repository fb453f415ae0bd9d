"""The columns an Avro writer wrote, as the columns of a source.

Belongs here: finding our fields by path, name and alias; what no field takes. Not here: their types (values.py).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.columns import Column, Extracted, Typed, one_array, present, query, replace
from kafka_sinks.decode.verdicts import Rows, rows_of
from kafka_sinks.sources import Source


def from_writer(source: Source, records: pa.StructArray) -> Extracted:
    """Our columns of one writer's records; unknown fields that have a value become JSON."""
    count = len(records)
    columns, tops = {}, set()
    for field in source.fields:
        values = None
        if field.name in source.paths:
            path = source.paths[field.name]
            names = [path] if len(path) > 1 else [path, *((alias,) for alias in field.aliases)]
            for each in names:
                values = _at(records, each)
                if values is not None:
                    tops.add(each)
                    break
        columns[field.name] = Column(pa.nulls(count, pa.string()) if values is None else values)
    return Extracted(columns, _rescued(records, tops))


def merged(source: Source, count: int, parts: Sequence[tuple[Rows, Typed]]) -> Typed:
    """The fields of several writers, each in its rows, as one; nulls where no record was read."""
    if len(parts) == 1 and len(parts[0][0]) == count:
        return parts[0][1]
    places = np.zeros(count, dtype=np.int64)
    absent = np.ones(count, dtype=np.bool_)
    rows = np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    absent[rows] = False
    order = pa.array(places, mask=absent)

    def whole(arrays: list[pa.Array], kind: pa.DataType) -> pa.Array:
        return pa.concat_arrays([pa.array([], kind), *arrays]).take(order)

    columns = {
        field.name: whole([typed.columns[field.name] for _, typed in parts], field.type) for field in source.fields
    }
    return Typed(columns, whole([typed.rescued for _, typed in parts], pa.string()))


def _at(records: pa.StructArray, path: Sequence[str]) -> pa.Array | None:
    """The values at a path; None when the writer has no such field."""
    kind = records.type
    for name in path:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return pc.struct_field(records, list(path))


def _rescued(records: pa.StructArray, read: set[tuple[str, ...]]) -> pa.StringArray:
    """Top-level fields that are not ours, or hold something that is not, as JSON where they have a value."""
    count = len(records)
    nothing = pa.nulls(count, pa.string())
    unknown = {
        field.name: pc.struct_field(records, [field.name])
        for field in records.type
        if not _all_read(field, (field.name,), read)
    }
    unknown = {name: values for name, values in unknown.items() if values.null_count < len(values)}
    if not unknown:
        return nothing
    rows = rows_of(np.logical_or.reduce([present(values) for values in unknown.values()]))
    some = {f"c{place}": values.take(pa.array(rows)) for place, values in enumerate(unknown.values())}
    pairs = ", ".join("'{}', c{}".format(name.replace("'", "''"), place) for place, name in enumerate(unknown))
    sql = f"SELECT o, json_merge_patch('{{}}', json_object({pairs}))::VARCHAR AS v FROM t"
    return replace(nothing, rows, one_array(query(sql, **some)["v"]))


def _all_read(field: pa.Field, path: tuple[str, ...], read: set[tuple[str, ...]]) -> bool:
    if path in read:
        return True
    if not pa.types.is_struct(field.type):
        return False
    return all(_all_read(each, (*path, each.name), read) for each in field.type)
