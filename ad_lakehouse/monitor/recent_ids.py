"""Which records repeat the id of a recent one.

Belongs here: the memory of ids, its bound and its error. Not here: exact duplicates of all time (silver models).

Each id has one place of a table, by its 64-bit hash; the next id of the same place takes it over. So memory has a
bound, and a duplicate that comes `d` ids after the first one is missed with probability 1 - exp(-d / places): with
the default of 8,388,608 places 1.2 % at 100,000 ids, 11 % at 1,000,000. A record is called a duplicate wrongly when
two hashes are equal, once in about 2^64 / places pairs.
"""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class RecentIds:
    """Ids seen of late. `places` is rounded up to a power of two."""

    def __init__(self, places: int) -> None:
        self._bits = np.uint64((1 << max(1, (places - 1).bit_length())) - 1)
        self._places: Hashes = np.zeros(int(self._bits) + 1, np.uint64)

    def repeated(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of the ids were seen before, in this batch too; null ones never were. Remembers them."""
        found = np.zeros(len(ids), np.bool_)
        whole = pl.Series(ids)
        rows = whole.is_not_null().to_numpy()
        hashes = whole.hash().to_numpy()[rows] | np.uint64(1)  # 0 is an empty place
        if not len(hashes):
            return found
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        again = np.zeros(len(hashes), np.bool_)
        again[order[1:]] = ordered[1:] == ordered[:-1]
        at = (hashes >> np.uint64(1)) & self._bits
        again |= self._places[at] == hashes
        self._places[at] = hashes
        found[rows] = again
        return found
