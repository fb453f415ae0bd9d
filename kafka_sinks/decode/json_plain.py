"""Plain JSON records, the usual ones, to columns in one pass; all others are left to json_records.py.

Belongs here: which records are plain, their fields. Not here: any other JSON (json_records.py), types (values.py).

A record is plain when it is one flat object of known fields that have a value, without an escape in it. DuckDB's
`json_transform` reads such records at about twice the speed of `json_extract`, but takes any value as a text (`true`,
`1.5`) and drops unknown fields in silence. That neither has happened is shown by counting bytes, since without escapes
and nesting a quote begins or ends a key or a text:

- A quote before a colon ends a key, or begins a text whose first character is a colon. When no quote stands before
  white space, each key ends so. Then a record with as many of them as fields were found has no other keys.
- Such a record has two quotes for each key and each text. When it has two for each field found and each text found,
  each field found as a text was one.
"""

import re
from collections.abc import Callable, Mapping

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from kafka_sinks.decode.columns import Column, Octets, blank, bounds, octet, one_array, present, query
from kafka_sinks.decode.json_values import unquoted
from kafka_sinks.decode.verdicts import Mask, Rows
from kafka_sinks.sources import Source

QUOTE, ESCAPE, OBJECT, END, LIST, COLON, SPACE = (ord(mark) for mark in '"\\{}[: ')
BEFORE_END = np.frombuffer(b" \t\n\r,", dtype=np.uint8)  # DuckDB takes a comma behind the last field
NO_NUMBER = np.frombuffer(b"NI", dtype=np.uint8)  # nor does JSON know NaN and Infinity
BLOCK = 1 << 18  # bytes compared at once: what is written of them stays in the processor's cache
SPACED = re.compile(r'"[ \t\n\r]')
Marks = Callable[[Octets, Octets], list[Mask]]  # bytes, and the byte behind each, if any: where some marks stand
SAMPLE, ENOUGH = 50, 0.5  # records looked at first, and the share of plain ones that makes trying worth while


def plain_records(source: Source, texts: pa.StringArray) -> tuple[Mask, dict[str, Column]]:
    """Which records are plain, and a column for each field of theirs; what stands in other rows means nothing.

    Columns of text fields have no kinds: each value of a plain record was a text.
    """
    if not _worth_trying(source, texts):
        return np.zeros(len(texts), dtype=np.bool_), {}
    return _read(source, texts)


def _worth_trying(source: Source, texts: pa.StringArray) -> bool:
    """Whether most of some records are plain: trying in vain would cost as much again as reading them."""
    paths = list(source.paths.values())
    # Nested, or read into two of our fields; DuckDB takes keys that differ in case for one
    if any(len(path) > 1 for path in paths) or len({path[0].lower() for path in paths}) < len(paths):
        return False
    texted = {field.name for field in source.fields if pa.types.is_string(field.type)}
    known = {path[0]: name in texted for name, path in source.paths.items()}
    # Anywhere, the same in each run: at even distances one might meet only the odd ones of a producer that takes turns
    places = np.random.default_rng(0).choice(len(texts), min(SAMPLE, len(texts)), replace=False, shuffle=False)
    some = texts.take(pa.array(places)).to_pylist()
    return sum(_looks_plain(text, known) for text in some) > ENOUGH * len(some)


def _looks_plain(text: str | None, known: Mapping[str, bool]) -> bool:
    try:
        record = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return False
    if not isinstance(record, dict) or SPACED.search(text or ""):
        return False
    return all(
        value is not None and name in known and (isinstance(value, str) or not known[name])
        for name, value in record.items()
    )


def _read(source: Source, texts: pa.StringArray) -> tuple[Mask, dict[str, Column]]:
    plain = _flat(texts)
    texts = blank(texts, ~plain)  # so each one that is left begins and ends with its brackets
    kinds = {field.name: field.type for field in source.fields if field.name in source.paths}
    found = _transformed(texts, {source.paths[name][0]: pa.types.is_string(kind) for name, kind in kinds.items()})
    columns: dict[str, Column] = {}
    fields, quotes = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.int64)
    for place, (name, kind) in enumerate(kinds.items()):
        values = one_array(found[f"f{place}"])
        there = present(values)
        fields += there
        if pa.types.is_string(kind):
            columns[name] = Column(values)
            quotes += there
            continue
        columns[name] = column = unquoted(values)
        assert column.kinds is not None  # noqa: S101  # unquoted gives them
        quotes += column.kinds == QUOTE
        plain &= ~np.isin(column.kinds, NO_NUMBER) & ~((column.kinds == ord("-")) & (octet(values, 1) == ord("I")))
    plain &= one_array(found["read"]).to_numpy(zero_copy_only=False)
    wanted = [2 * (fields + quotes), fields, np.zeros_like(fields)]
    # No record can have fewer keys than fields, nor with as many more quotes than wanted: equal sums are equal records
    if _sums(texts, plain, _quotes) != [each[plain].sum() for each in wanted]:
        for count, each in zip(_each(texts, _quotes), wanted, strict=True):
            plain &= count == each
    return plain, columns


def _flat(texts: pa.StringArray) -> Mask:
    """Records that begin and end as an object and hold no other object, no list and no escape."""
    flat: Mask = present(texts) & (octet(texts, 0) == OBJECT) & (octet(texts, -1) == END)
    flat &= ~np.isin(octet(texts, -2), BEFORE_END)
    if _sums(texts, flat, _nesting) != [np.count_nonzero(flat), 0]:
        objects, others = _each(texts, _nesting)
        flat &= (objects == 1) & (others == 0)
    return flat


def _nesting(octets: Octets, _: Octets) -> list[Mask]:
    """Where an object begins; where a list begins or an escape stands (neighbours in ASCII)."""
    return [octets == OBJECT, (octets - LIST) <= ESCAPE - LIST]


def _quotes(octets: Octets, after: Octets) -> list[Mask]:
    """Where a quote stands, one before a colon, one before white space."""
    quotes = octets == QUOTE
    with_next = quotes[: len(after)]
    return [quotes, with_next & (after == COLON), with_next & (after <= SPACE)]


def _sums(texts: pa.StringArray, rows: Mask, marks: Marks) -> list[int]:
    """How many of each kind of marks the marked records have together."""
    counts = _total(texts, marks)
    if not rows.all():  # few are not marked, so this copies less than to leave them out
        counts -= _total(texts.filter(pa.array(~rows)), marks)
    return list(map(int, counts))


def _total(texts: pa.StringArray, marks: Marks) -> Rows:
    offsets, octets = bounds(texts)
    inside = octets[offsets[0] : offsets[-1]]
    starts = range(0, len(inside), BLOCK) or [0]
    found = (marks(inside[at : at + BLOCK], inside[at + 1 : at + 1 + BLOCK]) for at in starts)
    total: Rows = np.sum([[np.count_nonzero(each) for each in masks] for masks in found], axis=0)
    return total


def _each(texts: pa.StringArray, marks: Marks) -> list[Rows]:
    """How many of each kind of marks each record has."""
    offsets, octets = bounds(texts)
    inside = octets[offsets[0] : offsets[-1]]
    places = [np.flatnonzero(each) for each in marks(inside, inside[1:])]
    return [np.diff(np.searchsorted(each, offsets - offsets[0])) for each in places]


def _transformed(texts: pa.StringArray, fields: dict[str, bool]) -> pa.Table:
    """`read`: whether a record is JSON; `f<i>`: its i-th field, as text (True) or as the JSON that stands there."""
    shape = orjson.dumps({name: "VARCHAR" if as_text else "JSON" for name, as_text in fields.items()}).decode()
    names = ", ".join(f's."{name}" AS f{place}'.replace("'", "''") for place, name in enumerate(fields))
    sql = "SELECT o, s IS NOT NULL AS read, {names} FROM (SELECT o, json_transform(g, '{shape}') AS s FROM {of})"
    parts = {"names": names, "shape": shape.replace("'", "''")}
    try:
        return query(sql.format(of="(SELECT o, j AS g FROM t)", **parts), j=texts)
    except duckdb.InvalidInputException:  # a record that is no JSON ends the whole query
        return query(sql.format(of="(SELECT o, CASE WHEN json_valid(j) THEN j END AS g FROM t)", **parts), j=texts)
