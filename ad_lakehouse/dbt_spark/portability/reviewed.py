"""Functions and types that mean the same on both engines.

Belongs here: those the project uses, each with what was seen of it. Not here: those that differ (bans.py), or that a
dispatched macro writes for one engine (dbt_project/macros/engine.sql).

To add one, run it on both engines first: nulls, negative and large numbers, no rows, letters beyond ASCII.
"""

import re
from collections.abc import Mapping

FUNCTIONS: Mapping[str, str] = {
    "abs": "",
    "coalesce": "",
    "count": "0 of no rows; takes one expression",
    "first_value": "nulls count; see order of nulls",
    "greatest": "leaves out nulls",
    "lag": "see order of nulls",
    "lead": "see order of nulls",
    "least": "leaves out nulls",
    "length": "code points, not bytes",
    "lower": "through the macro small_letters",
    "max": "texts by their bytes; null of no rows",
    "min": "texts by their bytes; null of no rows",
    "nullif": "",
    "pow": "the last digit differs, so inside round(…)",
    "round": "half away from zero, of decimals and of doubles",
    "row_number": "see order of nulls",
    "sum": "null of no rows",
    "translate": "letter by letter",
    "trim": "through the macro trimmed",
}
TYPES: Mapping[str, str] = {
    "bigint": "64 bits",
    "boolean": "",
    "date": "",
    "decimal(p, s)": "up to 38 digits",
    "double": "64 bits",
    "integer": "32 bits",
    "string": "",
}
DECIMAL = re.compile(r"decimal \( \d+ , \d+ \)")
TYPES_INSTEAD: Mapping[str, str] = {
    "timestamp": "the macro timestamp_type: timestamp has no zone on DuckDB, and is a moment on Spark",
    "timestamptz": "the macro timestamp_type",
    "timestamp with time zone": "the macro timestamp_type",
    "varchar": "string",
    "text": "string",
    "decimal": "decimal(p, s): without them it is (18, 3) on DuckDB, (10, 0) on Spark",
    "numeric": "decimal(p, s)",
    "hugeint": "the macro wide",
    "varchar [ ]": "the macro text_list_type",
    "array < string >": "the macro text_list_type",
    "float": "double",
    "real": "double",
    "int": "integer",
}


def type_name(written: str) -> str:
    """As it stands in TYPES."""
    return "decimal(p, s)" if DECIMAL.fullmatch(written) else written
