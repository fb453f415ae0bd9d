"""Which DuckDB types a Delta table of ours holds.

Belongs here: refusing a model's column with a type that Delta lacks or that silently changes. Not here: converting.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ad_lakehouse.dbt_delta.inputs import ModelError
from ad_lakehouse.dbt_delta.model import Model

ALLOWED = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "float", "double", "varchar", "blob", "date",
    "timestamp with time zone", "decimal", "list", "struct", "map",
}  # fmt: skip
REMEDIES = {
    "hugeint": "sum() of integers gives hugeint: cast it to bigint, or to decimal(38, 0).",
    "timestamp": "A time without zone is ambiguous: cast it to timestamptz.",
    "null": "Give the column a type: cast(null as varchar).",
}


def check_columns(model: Model, names: Sequence[str], types: Sequence[Any]) -> None:
    """Raises `ModelError` naming the column, its type, and what to cast it to."""
    for name, kind in zip(names, types, strict=True):
        for inner in within(kind):
            if inner.id not in ALLOWED:
                raise ModelError(
                    f"{model.name}: column {name} has the type {kind}, which a Delta table cannot hold.",
                    remedy=REMEDIES.get(inner.id, "Cast it in the model."),
                )
    found = dict(zip(names, types, strict=True)).get(model.partition or "")
    check_partition(model, None if found is None else str(found.id))


def check_partition(model: Model, found: str | None) -> None:
    """`found`: the type of the column that the model names as its day, None when it has no such column."""
    if model.partition is not None and found != "date":
        raise ModelError(
            f"{model.name}: partition_by names {model.partition}, which is "
            + ("no column of the model." if found is None else f"a {found}, not a date."),
            remedy="Name the model's day column, or set partition_by='none' for a table that is one piece.",
        )


def within(kind: Any) -> Iterator[Any]:
    """A type and the types inside it."""
    yield kind
    if kind.id in {"list", "struct", "map", "array"}:
        for _, child in kind.children:
            if hasattr(child, "id"):
                yield from within(child)
