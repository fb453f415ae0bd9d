"""What a walk over Avro records has found: which are not whole, which undecided, what was met in their fields.

Belongs here: what the walk writes down. Not here: walking (avro_walk.py), columns of what was met (avro_arrays.py).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from kafka_sinks.decode.columns import Octets
from kafka_sinks.decode.verdicts import Mask, Rows

Words = np.ndarray[Any, np.dtype[np.uint64]]


class Met(NamedTuple):
    """Values of one kind, each in another record (`rows`, ascending): where they begin, and what was read of them.

    `read`: the bytes of a string, the value of a whole number, the items of a block of a list (`kind` is "items").
    `place`: in a list, the how-manieth item of their records they are.
    """

    kind: str
    rows: Rows
    at: Rows
    read: Rows | Octets
    place: int


@dataclass
class Walk:
    """Records of one batch under inspection. `bad`: not whole; `long`: not decided, to be judged alone.

    `empty`: items without bytes met so far. `met`: what was met in each field of the record; None: not asked for.
    """

    octets: Octets
    words: Words
    bad: Mask
    long: Mask
    empty: Rows
    met: dict[str, list[Met]] | None
    steps: int = 0
    place: int = 0
    _field: list[Met] = field(default_factory=list)

    @classmethod
    def of(cls, octets: Octets, count: int, *, keep: bool = False) -> Self:
        """Nothing found yet of `count` records."""
        padded = np.concatenate([octets, np.zeros(16, dtype=np.uint8)])
        words = np.ndarray((len(octets) + 8,), dtype="<u8", buffer=padded, strides=(1,))
        bad, long, empty = np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, dtype=np.int64)
        return cls(padded, words, bad, long, empty, {} if keep else None)

    def enter(self, name: str) -> None:
        """What is met from now on is in this field of the record."""
        if self.met is not None:
            self._field = self.met.setdefault(name, [])

    def keep(self, kind: str, rows: Rows, at: Rows, read: Rows | Octets) -> None:
        """Remembers values, when asked to."""
        if self.met is not None:
            self._field.append(Met(kind, rows, at, read, self.place))

    def fail(self, rows: Rows, where: Mask) -> None:
        """Marks records as not whole, but for those that were left undecided: they are not read from there on."""
        if where.any():
            failed = rows[where]
            self.bad[failed[~self.long[failed]]] = True

    def leave(self, rows: Rows) -> None:
        """Marks records as not decided, unless they are known to be bad."""
        self.long[rows[~self.bad[rows]]] = True
