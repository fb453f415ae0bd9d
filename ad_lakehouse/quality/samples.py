"""A few of the rows that made a check fail, without what identifies a person.

Belongs here: the SQL that finds such rows, and reading some. Soda counts them but shows none.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ad_lakehouse.lake.views import literal, quoted
from ad_lakehouse.quality.contract_format import RELATION, ColumnsDuplicate, Expressed, Invalid, Missing
from ad_lakehouse.quality.contracts import Contract, DeclaredCheck
from ad_lakehouse.quality.database import Database, DuckDB

SAMPLE_ROWS = 5
PERSONAL = frozenset({
    "user_id", "user_segments", "ip", "user_agent", "url", "consent",
    "_key", "_headers", "_raw", "_rescued", "_error",
})  # fmt: skip


def failing_rows(
    relation: str, contract: Contract, check: DeclaredCheck, matches: str = DuckDB.regex_matches
) -> str | None:
    """A SELECT of the rows (for duplicates: the keys) that fail a check; None when no single row does.

    `relation` is quoted SQL, `matches` the engine's function of regular expressions.
    """
    body = check.body
    where = " and ".join(f"({part})" for part in (contract.filter, body.filter) if part)
    rows = f"select * from {relation}" + (f" where {where}" if where else "")
    if isinstance(body, Expressed):
        if check.kind == "metric":
            return None
        if body.query is not None:
            return body.query.replace(RELATION, relation)
        return f"select * from ({rows}) where {body.expression}"
    if isinstance(body, ColumnsDuplicate) or check.kind == "duplicate":
        keys = [quoted(key) for key in (body.columns if isinstance(body, ColumnsDuplicate) else [check.column or ""])]
        present = " and ".join(f"{key} is not null" for key in keys)
        return (
            f"select {', '.join(keys)}, count(*) as times from ({rows}) where {present} "
            f"group by all having count(*) > 1 order by times desc, {', '.join(keys)}"
        )
    if isinstance(body, Missing) and check.column:
        column = quoted(check.column)
        missing = " or ".join(_missing(column, body, matches))
        if not isinstance(body, Invalid):
            return f"select * from ({rows}) where {missing}"
        return f"select * from ({rows}) where not ({missing}) and ({' or '.join(_invalid(column, body, matches))})"
    return None


def sample(
    database: Database, rows: str, first: str | None = None, shown: int = SAMPLE_ROWS
) -> tuple[Mapping[str, Any], ...]:
    """Some rows of a SELECT as plain values, the column `first` first; personal and empty fields are left out."""
    found = database.execute(f"select * from ({rows}) limit {shown}")
    names = [column[0] for column in found.description or []]
    return tuple(
        {
            name: plain(value)
            for name, value in sorted(zip(names, row, strict=True), key=lambda each: each[0] != first)
            if name not in PERSONAL and value is not None and not isinstance(value, bytes | bytearray)
        }
        for row in found.fetchall()
    )


def plain(value: Any) -> Any:
    """A value that JSON can hold: times in ISO 8601, decimals as text unless whole."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return json.loads(json.dumps(value, default=str))


def _missing(column: str, body: Missing, matches: str) -> list[str]:
    parts = [f"{column} is null"]
    if body.missing_values:
        parts.append(f"{column} in ({_list(body.missing_values)})")
    if body.missing_format:
        parts.append(f"{matches}({column}, {literal(body.missing_format.regex)})")
    return parts


def _invalid(column: str, body: Invalid, matches: str) -> list[str]:
    parts = []
    if body.valid_values:
        parts.append(f"{column} not in ({_list(body.valid_values)})")
    if body.invalid_values:
        parts.append(f"{column} in ({_list(body.invalid_values)})")
    if body.valid_format:
        parts.append(f"not {matches}({column}, {literal(body.valid_format.regex)})")
    if body.invalid_format:
        parts.append(f"{matches}({column}, {literal(body.invalid_format.regex)})")
    limits = (
        (column, "<", body.valid_min),
        (column, ">", body.valid_max),
        (f"length({column})", "<>", body.valid_length),
        (f"length({column})", "<", body.valid_min_length),
        (f"length({column})", ">", body.valid_max_length),
    )
    return parts + [f"{value} {sign} {limit}" for value, sign, limit in limits if limit is not None]


def _list(values: Any) -> str:
    return ", ".join(literal(value) if isinstance(value, str) else str(value) for value in values)
