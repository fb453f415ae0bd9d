"""A text file as batches of records: lines of a JSON Lines file, records of a CSV file (which may span lines).

Belongs here: where one record ends and the next begins, in bounded memory. Not here: what a record means
(kafka_sinks/decode), Avro containers, which files there are (landing.py).

A record is given as it stands in the file, without its line end. A blank line of a JSON Lines file is a record (it
is rejected as empty); in CSV a blank line is none. Quotes count only where a field begins, so that a stray quote
costs its own record and not the rest of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

BLOCK = 4 << 20  # bytes read at once
LONGEST_RECORD = 16 << 20  # of a longer one the beginning is given, which is rejected as too large
LONGEST_QUOTED = 1 << 20  # a quoted field with line ends in it; a longer one is taken for a stray quote
NEWLINE, CARRIAGE_RETURN, QUOTE = b'\n\r"'
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OPENING = re.compile(rb'(?:(?<=[,;\t|\n])|(?<![\s\S]))"')  # where a field begins
# Closes where a field ends, or is still open at the end of the bytes (group `open`). Possessive, so that a quote that
# never closes costs linear time.
QUOTED_FIELD = re.compile(rb'"(?:[^"]++|"")*+(?:"(?=[,;\t|\r\n]|\Z)|(?P<open>\Z))')

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Records:
    """Consecutive records of a file: `first` is the 0-based number of the first; none follow when `last`."""

    payloads: pa.BinaryArray
    first: int
    last: bool

    @property
    def end(self) -> int:
        return self.first + len(self.payloads)


def text_records(stream: IO[bytes], *, max_rows: int, max_bytes: int, quoted: bool, skip: int = 0) -> Iterator[Records]:
    """Batches of at most `max_rows` records and about `max_bytes`; at least one, and the last is marked so.

    `quoted`: a line end inside a quoted field does not end a record (CSV). The first `skip` records (a header) are
    left out and not numbered.
    """
    held: list[pa.BinaryArray] = []
    first = rows = size = 0
    full: Records | None = None  # given only when it is known whether something follows
    for block in split(stream, quoted=quoted):
        left = block[skip:]
        skip = max(0, skip - len(block))
        while len(left):
            if full:
                yield full
                full = None
            typical = max(1, left.nbytes // len(left))
            taken = left[: max(1, min(max_rows - rows, (max_bytes - size) // typical))]
            left = left[len(taken) :]
            held.append(taken)
            rows, size = rows + len(taken), size + taken.nbytes
            if rows >= max_rows or size >= max_bytes:
                full = Records(pa.concat_arrays(held), first, last=False)
                held, first, rows, size = [], first + rows, 0, 0
    if full:
        yield Records(full.payloads, full.first, last=True)
    else:
        yield Records(pa.concat_arrays(held) if held else pa.array([], pa.binary()), first, last=True)


def first_record(stream: IO[bytes]) -> bytes:
    """The first record of a CSV file, its header. Empty when there is none."""
    return next((bytes(block[0].as_py()) for block in split(stream, quoted=True)), b"")


def split(stream: IO[bytes], *, quoted: bool) -> Iterator[pa.BinaryArray]:
    """All records of the stream, in arrays of at least one."""
    rest = stream.read(BLOCK).removeprefix(BYTE_ORDER_MARK)
    while True:
        more = stream.read(BLOCK)
        records, used = cut(rest, quoted=quoted, final=not more)
        if len(records):
            yield records
        if not more:
            return
        rest = rest[used:] + more
        if not used and len(rest) > LONGEST_RECORD:
            end = rest.find(b"\n")
            yield pa.array([rest if end < 0 else rest[:end]], pa.binary())
            rest = rest[end + 1 :] if end >= 0 else behind_line_end(stream)


def behind_line_end(stream: IO[bytes]) -> bytes:
    """Reads on to the next line end; returns what of the block stands behind it."""
    while block := stream.read(BLOCK):
        end = block.find(b"\n")
        if end >= 0:
            return block[end + 1 :]
    return b""


def cut(text: bytes, *, quoted: bool, final: bool) -> tuple[pa.BinaryArray, int]:
    """The whole records at the beginning of `text`, and how many bytes they took; with `final` they take all."""
    octets = np.frombuffer(text, dtype=np.uint8)
    ends: Places = np.flatnonzero(octets == NEWLINE)
    if quoted:
        ends = outside_quotes(text, octets, ends, final=final)
    if final and len(text) and (not len(ends) or ends[-1] != len(text) - 1):
        ends = np.append(ends, len(text))
    if not len(ends):
        return pa.array([], pa.binary()), 0
    starts = np.concatenate([[0], ends[:-1] + 1])
    returned = (ends > starts) & (octets[np.maximum(ends - 1, 0)] == CARRIAGE_RETURN)
    stops = ends - returned
    keep = np.ones(min(int(ends[-1]) + 1, len(text)), dtype=np.bool_)
    keep[ends[ends < len(text)]] = False
    keep[stops[returned]] = False
    offsets = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int32)
    values = octets[: len(keep)][keep]
    records = pa.BinaryArray.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(values)])
    if quoted:
        records = records.filter(pa.array(stops > starts))
    return records, len(keep)


def outside_quotes(text: bytes, octets: np.ndarray[Any, np.dtype[np.uint8]], ends: Places, *, final: bool) -> Places:
    """The line ends that end a record: those not inside a quoted field.

    A line with an even number of quotes can't leave a field open, so only lines with an odd number are looked into.
    """
    quotes = np.flatnonzero(octets == QUOTE)
    if not len(quotes):
        return ends
    upto = np.searchsorted(quotes, np.append(ends, len(text)))
    odd = np.flatnonzero(np.diff(upto, prepend=0) % 2)
    line_starts = np.concatenate([[0], ends + 1])
    kept = np.ones(len(ends), dtype=np.bool_)
    place = 0
    for start in line_starts[odd].tolist():
        place = max(place, start)
        # Not beyond the line: each other is looked into when its turn comes
        while opening := OPENING.search(text, place, line_end(ends, place, len(text))):
            field = QUOTED_FIELD.match(text, opening.start())
            if field is None:
                place = opening.end()
                continue
            begin, end = field.span()
            inner = slice(*np.searchsorted(ends, [begin, end]))
            opened = field["open"] is not None
            if opened and not final and end - begin <= LONGEST_QUOTED:
                kept[inner.start :] = False  # it may close in the next block
                return ends[kept]
            if opened or end - begin > LONGEST_QUOTED:
                place = begin + 1  # a stray quote
                continue
            kept[inner] = False
            place = end
    return ends[kept]


def line_end(ends: Places, place: int, size: int) -> int:
    """Where the line ends in which a place stands."""
    line = np.searchsorted(ends, place)
    return int(ends[line]) if line < len(ends) else size
