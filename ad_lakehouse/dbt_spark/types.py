"""Spark's type names as Arrow's and DuckDB's, and which of them a Delta table of ours holds.

Belongs here: the translation, refusing a model's column. Not here: DuckDB's own types (dbt_delta/columns.py).
"""

from collections.abc import Mapping

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ad_lakehouse.dbt_delta.columns import check_partition
from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model

Kind = exp.DataType.Type
SIMPLE = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.TINYINT: pa.int8(),
    Kind.SMALLINT: pa.int16(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.BINARY: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMPTZ: pa.timestamp("us", "UTC"),  # what sqlglot makes of Spark's `timestamp`, a moment
}
REMEDIES = {
    "void": "Give the column a type: cast(null as string).",
    "timestamp_ntz": "A time without zone is ambiguous: cast it to the macro timestamp_type().",
}


def arrow_schema(model: Model, columns: Mapping[str, str]) -> pa.Schema:
    """From Spark's names of types. Raises `ModelError` naming the column, its type, and what to cast it to."""
    fields = []
    for name, kind in columns.items():
        try:
            fields.append(pa.field(name, arrow_type(kind)))
        except (KeyError, ValueError, SqlglotError):
            raise ModelError(
                f"{model.name}: column {name} has the type {kind}, which a table of ours cannot hold.",
                remedy=REMEDIES.get(kind, "Cast it in the model."),
            ) from None
    check_partition(model, columns.get(model.partition or ""))
    return pa.schema(fields)


def arrow_type(kind: str) -> pa.DataType:
    """`array<decimal(18,9)>` as Arrow's type. Raises `KeyError` for one that Delta lacks."""
    return converted(exp.DataType.build(kind, dialect="spark"))


def converted(kind: exp.DataType) -> pa.DataType:
    inner = kind.expressions
    if kind.this == Kind.DECIMAL:
        precision, scale = (int(each.name) for each in inner)
        return pa.decimal128(precision, scale)
    if kind.this == Kind.ARRAY:
        return pa.list_(converted(inner[0]))
    return SIMPLE[kind.this]
