"""Plain JSON records, the usual ones, to columns in one pass; all others are left to json_records.py.

Belongs here: which records are plain, their fields. Not here: any other JSON (json_records.py), types (values.py).

A record is plain when it is one flat object of known fields that have a value, without an escape in it. DuckDB's
`json_transform` reads such records at about twice the speed of `json_extract`, but takes any value as a text (`true`,
`1.5`) and drops unknown fields in silence. That neither has happened is shown by counting: without escapes and nesting
the quotes of a record are two for each key and two for each text value. So when a record has as many keys as fields
were found, and two quotes for each of them and for each text found, then each field found as a text was one.
"""

from collections.abc import Mapping

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from kafka_sinks.decode.columns import Column, blank, bounds, octet, one_array, present, query
from kafka_sinks.decode.json_values import unquoted
from kafka_sinks.decode.verdicts import Mask, Rows
from kafka_sinks.sources import Source

QUOTE, ESCAPE, OBJECT, END, LIST = (ord(mark) for mark in '"\\{}[')
BEFORE_END = np.frombuffer(b" \t\n\r,", dtype=np.uint8)  # DuckDB takes a comma behind the last field
NO_NUMBER = np.frombuffer(b"NI", dtype=np.uint8)  # nor does JSON know NaN and Infinity
BLOCK = 1 << 18  # bytes compared at once: what is written of them stays in the processor's cache
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
    return isinstance(record, dict) and all(
        value is not None and name in known and (isinstance(value, str) or not known[name])
        for name, value in record.items()
    )


def _read(source: Source, texts: pa.StringArray) -> tuple[Mask, dict[str, Column]]:
    plain = _flat(texts)
    texts = blank(texts, ~plain)
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
    keys = one_array(found["n"]).fill_null(-1).to_numpy()
    plain &= keys == fields
    wanted = 2 * (fields + quotes)
    # No record can have more than is wanted of it here, so equal sums are equal records.
    if _count(texts, plain, QUOTE) != [wanted[plain].sum()]:
        plain &= _each(texts, QUOTE) == wanted
    return plain, columns


def _flat(texts: pa.StringArray) -> Mask:
    """Records that begin and end as an object and hold no other object, no list and no escape."""
    flat: Mask = (octet(texts, 0) == OBJECT) & (octet(texts, -1) == END) & ~np.isin(octet(texts, -2), BEFORE_END)
    objects, escapes, lists = _count(texts, flat, OBJECT, ESCAPE, LIST)
    if objects != np.count_nonzero(flat):
        flat &= _each(texts, OBJECT) == 1
    for mark, found in ((ESCAPE, escapes), (LIST, lists)):
        if found:
            flat &= _each(texts, mark) == 0
    return flat


def _count(texts: pa.StringArray, rows: Mask, *marks: int) -> list[int]:
    """How often each of some bytes stands in the marked records."""
    offsets, octets = bounds(texts if rows.all() else texts.filter(pa.array(rows)))
    inside = octets[offsets[0] : offsets[-1]]
    counts = np.zeros(len(marks), dtype=np.int64)
    for start in range(0, len(inside), BLOCK):
        block = inside[start : start + BLOCK]
        counts += [np.count_nonzero(block == mark) for mark in marks]
    return counts.tolist()


def _each(texts: pa.StringArray, mark: int) -> Rows:
    """How often a byte stands in each record."""
    offsets, octets = bounds(texts)
    places = np.flatnonzero(octets[offsets[0] : offsets[-1]] == mark)
    counts: Rows = np.diff(np.searchsorted(places, offsets - offsets[0]))
    return counts


def _transformed(texts: pa.StringArray, fields: dict[str, bool]) -> pa.Table:
    """`n`: keys of a record; `f<i>`: its i-th field, as text (True) or as the JSON that stands there; null for null."""
    shape = orjson.dumps({name: "VARCHAR" if as_text else "JSON" for name, as_text in fields.items()}).decode()
    names = ", ".join(f's."{name}" AS f{place}'.replace("'", "''") for place, name in enumerate(fields))
    sql = "SELECT o, n, {names} FROM (SELECT o, len(json_keys(g)) AS n, json_transform(g, '{shape}') AS s FROM {of})"
    parts = {"names": names, "shape": shape.replace("'", "''")}
    try:
        return query(sql.format(of="(SELECT o, j AS g FROM t)", **parts), j=texts)
    except duckdb.InvalidInputException:  # a record that is no JSON ends the whole query
        return query(sql.format(of="(SELECT o, CASE WHEN json_valid(j) THEN j END AS g FROM t)", **parts), j=texts)
