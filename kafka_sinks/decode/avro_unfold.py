"""How much text an Avro record may become: what no field of ours takes is kept as JSON, which names every field.

Belongs here: a bound from the schema alone, runs of records that stay below it together. Not here: making the JSON
(avro_columns.py).

One byte of a record may stand for a symbol, or for a field's name in each item of a list. So a small record can
become more text than there is memory, and is judged before it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kafka_sinks.decode.avro_schema import MOST_EMPTY_ITEMS, least_size
from kafka_sinks.decode.verdicts import Rows

LARGEST_TEXT = 512 << 20  # of a record, and of records that are read together; Arrow's strings end at 2 GiB
MARKS = 4  # quotes, colon, comma
# Characters at most for each byte: an escape is \u0000, a byte of `bytes` \\x00; the shortest numbers have a sign
DENSEST = {"null": 0, "boolean": 6, "int": 4, "long": 4, "float": 4, "double": 4, "string": 6, "bytes": 6, "fixed": 6}
NULL = 5


@dataclass(frozen=True)
class Unfolding:
    """A value of n bytes becomes at most `dense` * n + `free` characters."""

    dense: float
    free: float

    def of(self, sizes: Rows) -> Rows:
        """Characters of records of these sizes, rounded up."""
        characters: Rows = np.ceil(self.dense * sizes + self.free).astype(np.int64)
        return characters

    def runs(self, rows: Rows, sizes: Rows) -> Iterator[Rows]:
        """The rows in their order, in runs that may become `LARGEST_TEXT` together; at least one row in each."""
        total = np.cumsum(self.of(sizes))
        while len(rows):
            count = max(1, int(np.searchsorted(total, LARGEST_TEXT, side="right")))
            yield rows[:count]
            rows, total = rows[count:], total[count:] - total[count - 1]


def unfolding(schema: Any) -> Unfolding:
    """The bound of an expanded schema (avro_schema.py)."""
    if isinstance(schema, list):
        branches = [unfolding(each) for each in schema]  # the number of the branch is a byte, too
        return Unfolding(max(max(each.dense, each.free) for each in branches), 0)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return _record(schema)
    if kind == "enum":
        return Unfolding(max(map(len, schema["symbols"])) + MARKS, 0)
    if kind == "array":
        item, least = unfolding(schema["items"]), least_size(schema["items"])
        if least:
            return Unfolding(max(item.dense + item.free / least, MARKS), 0)
        return Unfolding(max(item.dense, MARKS), MOST_EMPTY_ITEMS * item.free)
    if kind == "map":
        value = unfolding(schema["values"])
        return Unfolding(max(DENSEST["string"] + MARKS + value.free, value.dense), 0)
    return Unfolding(DENSEST[kind], {"null": NULL, "fixed": MARKS}.get(kind, 0))


def _record(schema: dict[str, Any]) -> Unfolding:
    dense, free = 0.0, float(MARKS)
    for field in schema["fields"]:
        value, least = unfolding(field["type"]), least_size(field["type"])
        named = len(field["name"]) + MARKS + value.free
        dense = max(dense, value.dense + (named / least if least else 0))
        free += 0 if least else named
    return Unfolding(dense, free)
