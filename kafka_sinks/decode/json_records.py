"""JSON payloads, one object each, to columns.

Belongs here: valid JSON (RFC 8259) or not, finding fields, unknown fields. Not here: types (values.py).

DuckDB parses; it is laxer than the standard in three ways: it takes NaN and Infinity, a comma before a closing
bracket, and any depth. A cheap test finds the few records that may have one, which orjson then judges; so a record
nested deeper than 1,024 is invalid. Of a key that is there twice the first one counts. Unknown fields become
`_rescued`; when a nested object has fields of ours and unknown ones, it is kept there whole.
"""

from collections.abc import Iterable

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.columns import Column, Extracted, blank, octet, one_array, present, query, replace, utf8
from kafka_sinks.decode.json_plain import plain_records
from kafka_sinks.decode.json_values import unquoted
from kafka_sinks.decode.verdicts import Mask, Rows, Verdicts, rows_of, shown
from kafka_sinks.sources import Source

WHITESPACE = " \t\n\r"
LAX = r"(?i)nan|inf|,[ \t\n\r]*[\]}]"
DEEP = 500  # brackets in a record that make it worth counting how deep they are
Path = tuple[str, ...]


def extract_json(source: Source, payloads: pa.BinaryArray, verdicts: Verdicts) -> Extracted:
    """Columns of the source's fields as text, with the faults invalid_json, not_a_record and empty."""
    texts = _texts(payloads, verdicts)
    plain, columns = plain_records(source, texts)
    rest = rows_of(~plain)
    if len(rest) == len(texts):
        return _extract_any(source, texts, verdicts)
    rescued = pa.nulls(len(texts), pa.string())
    columns = {field.name: columns.get(field.name, Column(rescued)) for field in source.fields}
    if not len(rest):
        return Extracted(columns, rescued)
    part = Verdicts(len(rest))
    others = _extract_any(source, texts.take(pa.array(rest)), part)
    verdicts.reject_as(rest, part)
    if not part.accepted.any():  # then nothing of theirs is kept
        return Extracted(columns, rescued)
    merged = {name: _merged(column, rest, others.columns[name]) for name, column in columns.items()}
    return Extracted(merged, replace(rescued, rest, others.rescued))


def _merged(plain: Column, rows: Rows, others: Column) -> Column:
    """A field's values of plain records with those of `rows`, the other records."""
    kinds = plain.kinds
    if kinds is None:
        kinds = np.where(present(plain.values), ord('"'), 0).astype(np.uint8)
    kinds[rows] = 0 if others.kinds is None else others.kinds
    return Column(replace(plain.values, rows, others.values), kinds)


def _extract_any(source: Source, texts: pa.StringArray, verdicts: Verdicts) -> Extracted:
    """Records of any form; null where there is none to be read."""
    paths = source.paths
    leaves = list(dict.fromkeys(paths.values()))
    nodes = sorted({path[:depth] for path in leaves for depth in range(1, len(path))})
    found = _parse(texts, leaves, nodes)
    valid = present(found["n"])
    _name_invalid(texts, present(texts) & ~valid, verdicts)
    _name_foreign(texts, valid, verdicts)
    raw = {leaf: one_array(found[f"f{place}"]) for place, leaf in enumerate(leaves)}
    columns = {leaf: unquoted(values) for leaf, values in raw.items()}
    complete = _complete(found, nodes, raw)
    suspicious = valid & _lax(texts, columns.values(), np.logical_and.reduce(list(complete.values())))
    if suspicious.any():
        _judge(texts, suspicious, verdicts)
    rescued = _rescued(texts, valid & verdicts.accepted, complete, {leaf[0] for leaf in leaves if len(leaf) == 1})
    none = Column(pa.nulls(len(texts), pa.string()))
    return Extracted(
        {field.name: columns[paths[field.name]] if field.name in paths else none for field in source.fields}, rescued
    )


def _texts(payloads: pa.BinaryArray, verdicts: Verdicts) -> pa.Array:
    """Payloads as text; null where there is nothing or no text."""
    there = present(payloads)
    empty = ~there | (pc.fill_null(pc.binary_length(payloads), 0).to_numpy() == 0)
    verdicts.reject(rows_of(empty), "empty", "the record has no payload")
    texts = utf8(payloads)
    verdicts.reject(rows_of(there & ~present(texts)), "invalid_json", "not valid UTF-8")
    return blank(texts, empty)


def _parse(texts: pa.Array, leaves: list[Path], nodes: list[Path]) -> pa.Table:
    """`n`: keys of the record, null when it is not JSON; `f<i>`: JSON text of a leaf; `n<i>`: keys of a node."""
    places = ", ".join(_literal(leaf) for leaf in leaves)
    fields = "".join(f", l[{place + 1}] AS f{place}" for place in range(len(leaves)))
    counts = "".join(f", len(json_keys(g, {_literal(node)})) AS n{place}" for place, node in enumerate(nodes))
    kept = "".join(f", n{place}" for place in range(len(nodes)))
    return query(
        f"SELECT o, n{fields}{kept} FROM ("
        f"SELECT o, len(json_keys(g)) AS n, json_extract(g, [{places}]) AS l{counts} FROM ("
        "SELECT o, CASE WHEN json_valid(j) THEN j END AS g FROM t))",
        j=texts,
    )


def _literal(path: Path) -> str:
    return "'$" + "".join(f'."{key}"' for key in path).replace("'", "''") + "'"


def _complete(found: pa.Table, nodes: list[Path], raw: dict[Path, pa.Array]) -> dict[Path, Mask]:
    """For the record (path ()) and each nested object we read: whether all its keys are ours."""
    there = {leaf: present(values) for leaf, values in raw.items()}
    there |= {node: present(found[f"n{place}"].combine_chunks()) for place, node in enumerate(nodes)}
    complete = {}
    for node, column in [((), "n"), *((node, f"n{place}") for place, node in enumerate(nodes))]:
        keys = pc.fill_null(one_array(found[column]), 0).to_numpy()
        ours = np.zeros(found.num_rows, dtype=np.int64)
        for path, mask in there.items():
            if path[:-1] == node:
                ours += mask
        complete[node] = keys == ours
    return complete


def _lax(texts: pa.Array, columns: Iterable[Column], complete: Mask) -> Mask:
    """Records in which DuckDB may have accepted what the standard does not."""
    last, before = octet(texts, -1), octet(texts, -2)
    # A record that ends in a value and its bracket, and whose values are plain ones, has no room for laxity.
    tail = np.isin(before, np.frombuffer((WHITESPACE + ",").encode(), dtype=np.uint8)) | (last != ord("}"))
    odd = ~complete | tail
    for column in columns:
        if column.kinds is not None:
            kinds = column.kinds
            odd |= (kinds == ord("{")) | (kinds == ord("[")) | (kinds == ord("N")) | (kinds == ord("I"))
            minus = rows_of(kinds == ord("-"))
            if len(minus):
                odd[minus] |= octet(column.values, 1)[minus] == ord("I")
    rows = rows_of(odd & present(texts))
    if not len(rows):
        return np.zeros(len(texts), dtype=np.bool_)
    some = texts if len(rows) == len(texts) else texts.take(pa.array(rows))
    lax = pc.match_substring_regex(some, LAX).to_numpy(zero_copy_only=False)
    long = pc.binary_length(some).to_numpy() > DEEP
    if long.any():
        brackets = pc.add(pc.count_substring(some, "["), pc.count_substring(some, "{")).to_numpy()
        lax = lax | (brackets > DEEP)
    found = np.zeros(len(texts), dtype=np.bool_)
    found[rows[lax]] = True
    return found


def _judge(texts: pa.Array, rows: Mask, verdicts: Verdicts) -> None:
    _name_invalid(texts, rows, verdicts, unless_valid=True)


def _name_invalid(texts: pa.Array, rows: Mask, verdicts: Verdicts, *, unless_valid: bool = False) -> None:
    """Rejects rows with what orjson says of them; with `unless_valid` only those it refuses."""
    numbers = rows_of(rows)
    bad, errors = [], []
    for row, text in zip(numbers.tolist(), texts.take(pa.array(numbers)).to_pylist(), strict=True):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            errors.append(str(error)[:200])
        else:
            if unless_valid:
                continue
            errors.append("not JSON")
        bad.append(row)
    verdicts.reject(np.array(bad, dtype=np.int64), "invalid_json", errors)


def _name_foreign(texts: pa.Array, valid: Mask, verdicts: Verdicts) -> None:
    """Rejects valid JSON that is not an object."""
    first = octet(texts, 0)
    spaced = rows_of(np.isin(first, np.frombuffer(WHITESPACE.encode(), dtype=np.uint8)))
    if len(spaced):
        first[spaced] = octet(pc.utf8_ltrim(texts.take(pa.array(spaced)), characters=WHITESPACE), 0)
    other = rows_of(valid & (first != ord("{")))
    if len(other):
        found = texts.take(pa.array(other)).to_pylist()
        verdicts.reject(other, "not_a_record", (f"{shown(each)} is no JSON object" for each in found))


def _rescued(texts: pa.Array, rows: Mask, complete: dict[Path, Mask], plain: set[str]) -> pa.Array:
    """JSON of the fields that are not ours, for the rows that have some."""
    parents = sorted({node[0] for node in complete if node})
    whole = {
        parent: np.logical_and.reduce([mask for node, mask in complete.items() if node[:1] == (parent,)])
        for parent in parents
    }
    wanted = rows_of(rows & ~np.logical_and.reduce([complete[()], *whole.values()]))
    if not len(wanted):
        return pa.nulls(len(texts), pa.string())
    removed = orjson.dumps(dict.fromkeys(sorted(plain - set(parents)))).decode()[1:-1].replace("'", "''")
    patch = f"'{{{removed}'"
    for place, parent in enumerate(parents):
        comma = "," if removed or place else ""
        key = orjson.dumps(parent).decode().replace("'", "''")
        patch += f" || CASE WHEN w{place} THEN '{comma}{key}:null' ELSE '{comma}{key}:{{}}' END"
    flags = {f"w{place}": pa.array(whole[parent][wanted]) for place, parent in enumerate(parents)}
    sql = f"SELECT o, nullif(json_merge_patch(j, {patch} || '}}')::VARCHAR, '{{}}') AS v FROM t"
    found = one_array(query(sql, j=texts.take(pa.array(wanted)), **flags)["v"])
    return replace(pa.nulls(len(texts), pa.string()), wanted, found)
