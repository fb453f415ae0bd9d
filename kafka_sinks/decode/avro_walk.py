"""Which Avro records are whole: walks all records of a batch at once, one field after the other.

Belongs here: the binary encoding (Avro 1.12, "Binary Encoding"), lengths and limits. Not here:
what is written down of it (avro_met.py), columns of that (avro_arrays.py).

A step of the walk is a few numpy operations on thousands of records, and names each bad one.
"""

from typing import Any

import numpy as np

from kafka_sinks.decode.avro_met import Walk
from kafka_sinks.decode.avro_schema import MOST_EMPTY_ITEMS, has_empty_items, least_size
from kafka_sinks.decode.columns import Octets
from kafka_sinks.decode.verdicts import Rows

CHUNK = 16_384  # records at once: what a step touches stays in the processor's cache
MOST_STEPS = 256  # items of one list walked in step; a record with more is left to be judged alone
NARROWEST = 8  # fewer blocks beside each other are quicker read one by one
MOST_ITEMS = 1 << 60  # more than any block has
MOST_STEPS_IN_ALL = 4_096  # lists in lists multiply; a record that needs more is judged alone too
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
CONTINUED = np.uint64(0x8080808080808080)
FIXED_SIZE = {"float": 4, "double": 8}


def walk_records(schema: dict[str, Any], begins: Rows, ends: Rows, octets: Octets, *, keep: bool = False) -> Walk:
    """The records of a batch, walked to their ends: which are not whole, which left undecided, what was met in them."""
    walk = Walk.of(octets, len(begins), keep=keep)
    for first in range(0, len(begins), CHUNK):
        walk.steps = 0
        rows = np.arange(first, min(first + CHUNK, len(begins)))
        at, end = begins[rows].astype(np.int64), ends[rows].astype(np.int64)
        for each in schema["fields"]:
            walk.enter(each["name"])
            at = _walk(walk, each["type"], rows, at, end)
        walk.fail(rows, at != end)
    if has_empty_items(schema):
        walk.bad |= walk.long
        walk.long[:] = False
    return walk


def cut_blocks(schema: dict[str, Any], starts: Rows, ends: Rows, counts: Rows, octets: Octets) -> list[Rows | None]:
    """Where the records of each block end; None for a block that is not filled by whole records, or not decided.

    A record begins where the one before it ended, so the blocks are walked beside each other, a record at a time.
    """
    walk = Walk.of(octets, len(starts))
    narrowest = 1 if has_empty_items(schema) else NARROWEST
    at = starts.copy()
    found: list[tuple[Rows, Rows]] = []
    step = 0
    while len(rows := np.flatnonzero((counts > step) & ~walk.bad & ~walk.long)) >= narrowest:
        walk.steps, walk.empty[rows] = 0, 0
        at[rows] = _walk(walk, schema, rows, at[rows], ends[rows])
        walk.fail(rows, at[rows] > ends[rows])
        found.append((rows, at[rows]))
        step += 1
    whole = ~walk.bad & ~walk.long & (counts <= step) & (at == ends)
    block = np.concatenate([rows for rows, _ in found]) if found else np.zeros(0, dtype=np.int64)
    stops = np.concatenate([each for _, each in found]) if found else np.zeros(0, dtype=np.int64)
    order = np.argsort(block, kind="stable")
    pieces = np.split(stops[order], np.searchsorted(block[order], np.arange(1, len(starts))))
    return [piece if good else None for piece, good in zip(pieces, whole.tolist(), strict=True)]


def _walk(walk: Walk, schema: Any, rows: Rows, at: Rows, end: Rows) -> Rows:
    """Where the value that begins at `at` ends, for each record of `rows`. Of a bad record: anywhere."""
    if isinstance(schema, list):
        return _union(walk, schema, rows, at, end)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        for field in schema["fields"]:
            at = _walk(walk, field["type"], rows, at, end)
        return at
    if kind in ("array", "map"):
        return _blocks(walk, schema, rows, at, end)
    if kind == "null":
        return at
    if kind == "boolean":
        found = _octet(walk, at)
        walk.fail(rows, found > 1)
        walk.keep(kind, rows, at, found)
        return at + 1
    if kind in ("long", "int", "enum"):
        return _number(walk, schema, kind, rows, at)
    if kind in ("string", "bytes"):
        length, at = _varint(walk, rows, at)
        outside = (length < 0) | (length > end - at)
        walk.fail(rows, outside)
        length = np.where(outside, 0, length)
        walk.keep(kind, rows, at, length)
        return at + length
    size = FIXED_SIZE.get(kind) or int(schema["size"])
    walk.fail(rows, at + size > end)
    walk.keep(kind, rows, at, at)
    return np.minimum(at + size, end + 1)


def _octet(walk: Walk, at: Rows) -> Octets:
    found: Octets = walk.octets[np.minimum(at, len(walk.octets) - 1)]
    return found


def _number(walk: Walk, schema: Any, kind: str, rows: Rows, at: Rows) -> Rows:
    number, after = _varint(walk, rows, at, value=kind != "long" or walk.met is not None)
    if kind == "int":
        walk.fail(rows, (number < INT_MIN) | (number > INT_MAX))
    elif kind == "enum":
        walk.fail(rows, (number < 0) | (number >= len(schema["symbols"])))
    walk.keep(kind, rows, at, number)
    return after


def _varint(walk: Walk, rows: Rows, at: Rows, *, value: bool = True) -> tuple[Rows, Rows]:
    """Numbers in variable length (zeros when no `value` is wanted), and where they end."""
    first = _octet(walk, at)
    if (first < 0x80).all():
        small = first.astype(np.int64)
        return (small >> 1) ^ -(small & 1), at + 1
    word = walk.words[np.minimum(at, len(walk.words) - 1)]
    stop = ~word & CONTINUED
    low = stop & (np.uint64(0) - stop)  # the highest bit of the last byte of the number; 0: more than 8 bytes
    # low is a power of two: its exponent is exact in a double
    size = (np.frexp(low.astype(np.float64))[1] >> 3).astype(np.int64)
    longer = np.flatnonzero(low == 0)
    if len(longer):
        ninth, tenth = _octet(walk, at[longer] + 8), _octet(walk, at[longer] + 9)
        size[longer] = np.where(ninth < 0x80, 9, 10)
        walk.fail(rows[longer], (ninth >= 0x80) & (tenth > 1))
    number = np.zeros(len(at), dtype=np.int64)
    if value:
        bits = word & (low - np.uint64(1)) & np.uint64(0x7F7F7F7F7F7F7F7F)
        bits = (bits & np.uint64(0x007F007F007F007F)) | ((bits & np.uint64(0x7F007F007F007F00)) >> np.uint64(1))
        bits = (bits & np.uint64(0x00003FFF00003FFF)) | ((bits & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
        bits = (bits & np.uint64(0x000000000FFFFFFF)) | ((bits & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))
        if len(longer):
            bits[longer] |= (ninth & np.uint64(0x7F)) << np.uint64(56)
            bits[longer] |= np.where(ninth < 0x80, 0, tenth & 1).astype(np.uint64) << np.uint64(63)
        number = ((bits >> np.uint64(1)) ^ (np.uint64(0) - (bits & np.uint64(1)))).view(np.int64)
    return number, at + size


def _union(walk: Walk, branches: list[Any], rows: Rows, at: Rows, end: Rows) -> Rows:
    branch, at = _varint(walk, rows, at)
    walk.fail(rows, (branch < 0) | (branch >= len(branches)))
    for number, schema in enumerate(branches):
        if schema == "null":
            continue
        mine = np.flatnonzero(branch == number)
        if len(mine) == len(rows):
            return _walk(walk, schema, rows, at, end)
        if len(mine):
            at[mine] = _walk(walk, schema, rows[mine], at[mine], end[mine])
    return at


def _blocks(walk: Walk, schema: Any, rows: Rows, at: Rows, end: Rows) -> Rows:
    """An array or map: blocks of items, each behind its number, until a block of none."""
    item = schema["items"] if schema["type"] == "array" else None
    smallest = least_size(item) if item is not None else 2
    at = at.copy()
    left = np.zeros(len(rows), dtype=np.int64)
    active = np.arange(len(rows))
    for step in range(MOST_STEPS):
        fresh = active[left[active] == 0]
        if len(fresh):
            count, after = _varint(walk, rows[fresh], at[fresh])
            sized = np.flatnonzero(count < 0)  # a negative number is followed by the bytes of the block
            if len(sized):
                after[sized] = _varint(walk, rows[fresh[sized]], after[sized])[1]
                count = np.abs(np.maximum(count, -MOST_ITEMS))  # the least number has no positive one
            if smallest:
                room = np.maximum(end[fresh] - after, 0) // smallest
            else:
                room = MOST_EMPTY_ITEMS - walk.empty[rows[fresh]]
                walk.empty[rows[fresh]] += np.minimum(count, room)
            outside = (count > room) | (after > end[fresh])
            walk.fail(rows[fresh], outside)
            at[fresh], left[fresh] = after, np.where(outside, 0, count)
            walk.keep("items", rows[fresh], after, left[fresh])
            over = outside | (count == 0)
            if over.any():
                done = np.zeros(len(rows), dtype=bool)
                done[fresh[over]] = True
                active = active[~done[active]]
        if not len(active):
            return at
        walk.steps += 1
        if walk.steps > MOST_STEPS_IN_ALL:
            break
        some, here, last = rows[active], at[active], end[active]
        walk.place = step
        if item is None:
            here = _walk(walk, schema["values"], some, _walk(walk, "string", some, here, last), last)
        else:
            here = _walk(walk, item, some, here, last)
        at[active] = here
        left[active] -= 1
    walk.leave(rows[active])
    return at
