"""Which records of a batch are rejected, and why.

Belongs here: the closed list of reasons, their order, the text of an error. Not here: finding out (the modules of
each format, values.py, finish.py).
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Reason = Literal[
    "invalid_json",
    "not_a_record",
    "invalid_csv",
    "invalid_avro",
    "unknown_schema",
    "missing_field",
    "invalid_type",
    "invalid_value",
    "event_time_out_of_range",
    "unknown_type",
    "after_retention",
    "too_large",
    "empty",
]
# A record with several faults has the first of this list.
REASONS: tuple[Reason, ...] = Reason.__args__  # type: ignore[attr-defined]  # of a Literal
ACCEPTED = len(REASONS)
LONGEST_VALUE = 200  # characters of a value an error shows
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


class Verdicts:
    """The verdict on each record of a batch: accepted until a fault is found."""

    def __init__(self, count: int) -> None:
        self._codes = np.full(count, ACCEPTED, dtype=np.int8)
        self._errors = np.full(count, None, dtype=object)

    def reject(self, rows: Rows, reason: Reason, errors: Iterable[str] | str) -> None:
        """Rejects rows (by number) with one error for all or one for each. A fault already found may come first."""
        if not len(rows):
            return
        texts = np.empty(len(rows), dtype=object)
        texts[:] = errors if isinstance(errors, str) else list(errors)
        code = REASONS.index(reason)
        first = self._codes[rows] > code
        self._codes[rows[first]] = code
        self._errors[rows[first]] = texts[first]

    def reject_as(self, rows: Rows, part: "Verdicts") -> None:
        """Takes over the verdicts on a part of the records, which are `rows` of these."""
        bad = ~part.accepted
        self._codes[rows[bad]] = part._codes[bad]
        self._errors[rows[bad]] = part._errors[bad]

    @property
    def accepted(self) -> Mask:
        mask: Mask = self._codes == ACCEPTED
        return mask

    @property
    def all_accepted(self) -> bool:
        return bool((self._codes == ACCEPTED).all())

    def columns(self) -> tuple[pa.StringArray, pa.StringArray]:
        """`_reason` and `_error`."""
        if self.all_accepted:
            nulls = pa.nulls(len(self._codes), pa.string())
            return nulls, nulls
        codes = pa.array(self._codes, mask=self.accepted)
        return pa.array(REASONS, pa.string()).take(codes), pa.array(self._errors, pa.string())


def shown(value: object) -> str:
    """A value as an error shows it: quoted, and cut when it is long."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…")


def rows_of(mask: Mask) -> Rows:
    """The numbers of the rows a mask marks."""
    return np.flatnonzero(mask).astype(np.int64, copy=False)
