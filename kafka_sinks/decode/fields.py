"""Extracted columns as the fields of the schema: what must be there is, and each value has its type.

Belongs here: missing_field, then the types. Not here: which texts a type takes (values.py).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.columns import Extracted, Typed, present
from kafka_sinks.decode.values import typed
from kafka_sinks.decode.verdicts import Mask, Verdicts, rows_of
from kafka_sinks.sources import Source


def typed_fields(source: Source, extracted: Extracted, verdicts: Verdicts) -> Typed:
    """The fields in their types, with the faults missing_field and invalid_type."""
    _reject_missing(source, extracted, verdicts)
    columns = {field.name: typed(field, extracted.columns[field.name], verdicts) for field in source.fields}
    return Typed(columns, extracted.rescued)


def has_value(values: pa.Array) -> Mask:
    """Where there is a value; an empty text is none."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return present(values)
    mask: Mask = pc.fill_null(pc.greater(pc.binary_length(values), 0), False).to_numpy(zero_copy_only=False)
    return mask


def _reject_missing(source: Source, extracted: Extracted, verdicts: Verdicts) -> None:
    absent = {field.name: ~has_value(extracted.columns[field.name].values) for field in source.fields if field.required}
    if not absent:
        return
    rows = rows_of(np.logical_or.reduce(list(absent.values())) & verdicts.accepted)
    if len(rows):
        table = np.stack([mask[rows] for mask in absent.values()], axis=1)
        names = np.array(list(absent), dtype=object)
        verdicts.reject(rows, "missing_field", [f"missing: {', '.join(names[line])}" for line in table])
