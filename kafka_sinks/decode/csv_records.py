"""CSV payloads, one record each, to columns.

Belongs here: RFC 4180 strictly, columns by header, unknown columns. Not here: types (values.py), cutting a file
into records (ad_lakehouse/files).

A grammar check comes before the parser, so that a stray quote or line end costs its own record and cannot swallow
the next one. An empty field is no value. Columns that no field takes become `_rescued`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ad_lakehouse.errors import LakehouseError
from kafka_sinks.decode.columns import Column, Extracted, blank, bounds, one_array, present, query, replace, utf8
from kafka_sinks.decode.verdicts import Rows, Verdicts, rows_of
from kafka_sinks.sources import Source

FIELD = r'([^",\r\n]*|"([^"]|"")*")'
RECORD = rf"^{FIELD}(,{FIELD})*$"
MOST_COLUMNS = 4_000  # a column takes memory and time in each batch, also where it is empty
QUOTED = r'"([^"]|"")*"'
Header = Sequence[str]


class HeaderUnfit(LakehouseError):
    """A CSV header that can't be read, or names a column twice."""

    exit_code = 27


def parse_header(record: bytes) -> tuple[str, ...]:
    """The column names of a file's first record; raises `HeaderUnfit`."""
    verdicts = Verdicts(1)
    texts = _texts(pa.array([record], pa.binary()), verdicts)
    if b"\0" in record or texts.null_count:
        raise HeaderUnfit("The header is not UTF-8 text.", remedy="Save the file as UTF-8, the column names first.")
    bad, count = _judge(texts, verdicts)
    if bad.any():
        problem = "A line of it ends in CR alone" if b"\r" in record.removesuffix(b"\r\n") else "A quote is misplaced"
        raise HeaderUnfit(
            f"The header is no CSV record. {problem}.",
            remedy="Write the column names, separated by commas, in a line that ends in LF or CRLF.",
        )
    if count[0] > MOST_COLUMNS:
        raise HeaderUnfit(f"The header has {count[0]} columns.", remedy=f"Write at most {MOST_COLUMNS}.")
    names = [column[0].as_py() or "" for column in _parse(texts, int(count[0]))]
    if double := sorted(name for name, times in Counter(names).items() if times > 1):
        raise HeaderUnfit(f"The header has column {double[0]!r} twice.", remedy="Name each column once.")
    return tuple(names)


def extract_csv(source: Source, payloads: pa.BinaryArray, verdicts: Verdicts, headers: Sequence[Header]) -> Extracted:
    """Columns of the source's fields as text, with the faults invalid_csv and empty.

    `headers`: the lists of columns a record may have, told apart by their length.
    """
    texts = _texts(payloads, verdicts)
    bad, count = _judge(texts, verdicts)
    columns = {field.name: pa.nulls(len(texts), pa.string()) for field in source.fields}
    rescued = pa.nulls(len(texts), pa.string())
    left = present(texts) & ~bad
    for header in headers:
        rows = rows_of(left & (count == len(header)))
        if not len(rows):
            continue
        left[rows] = False
        whole = len(rows) == len(texts)
        found = dict(zip(header, _parse(texts if whole else texts.take(pa.array(rows)), len(header)), strict=True))
        theirs = {name: path[0] for name, path in source.paths.items()}
        for name, column in theirs.items():
            if column in found:
                columns[name] = found[column] if whole else replace(columns[name], rows, found[column])
        unknown = {name: values for name, values in found.items() if name not in theirs.values()}
        extra = _as_json(unknown, len(rows))
        rescued = extra if whole else replace(rescued, rows, extra)
    wrong = rows_of(left)
    lengths = " or ".join(str(len(header)) for header in headers)
    verdicts.reject(wrong, "invalid_csv", (f"{each} columns instead of {lengths}" for each in count[wrong].tolist()))
    return Extracted({name: Column(values) for name, values in columns.items()}, rescued)


def _texts(payloads: pa.BinaryArray, verdicts: Verdicts) -> pa.Array:
    """Payloads as text without their line end; null where there is nothing or no text."""
    there = present(payloads)
    texts = utf8(payloads)
    verdicts.reject(rows_of(there & ~present(texts)), "invalid_csv", "not valid UTF-8")
    if pc.any(pc.ends_with(texts, "\n")).as_py():
        texts = pc.replace_substring_regex(texts, r"\r?\n\z", "")
    empty = ~there | (present(texts) & (pc.fill_null(pc.binary_length(texts), 0).to_numpy() == 0))
    verdicts.reject(rows_of(empty), "empty", "the record has no payload")
    return blank(texts, empty)


def _judge(texts: pa.Array, verdicts: Verdicts) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Rows]:
    """Which records break the grammar, and how many columns each has."""
    _, octets = bounds(texts)
    special = np.zeros(len(texts), dtype=np.bool_)
    commas: Rows = pc.fill_null(pc.count_substring(texts, ","), 0).to_numpy().astype(np.int64)
    for mark in '"\r\n':
        if (octets == ord(mark)).any():
            special |= pc.fill_null(pc.match_substring(texts, mark), False).to_numpy(zero_copy_only=False)
    bad = np.zeros(len(texts), dtype=np.bool_)
    rows = rows_of(special)
    if len(rows):
        some = texts.take(pa.array(rows))
        fits = pc.match_substring_regex(some, RECORD).to_numpy(zero_copy_only=False)
        bad[rows[~fits]] = True
        verdicts.reject(rows[~fits], "invalid_csv", "a quote or a line end stands where none may (RFC 4180)")
        commas[rows] = pc.count_substring(pc.replace_substring_regex(some, QUOTED, ""), ",").to_numpy()
    return bad, commas + 1


def _parse(texts: pa.Array, width: int) -> list[pa.Array]:
    """The columns of records that were found well-formed and of equal width; empty fields are null."""
    names = ["o", *(f"c{place}" for place in range(width))]
    numbered = pc.binary_join_element_wise(
        pa.array(np.arange(len(texts))).cast(pa.string()), pa.scalar(","), texts, pa.scalar("\n"), ""
    )
    offsets, _ = bounds(numbered)
    data = numbered.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    read = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=max(1 << 20, min(len(data), 1 << 30))),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"o": pa.int64(), **dict.fromkeys(names[1:], pa.string())},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    if not np.array_equal(one_array(read["o"]).to_numpy(), np.arange(len(texts))):
        raise AssertionError("the CSV parser disagrees with the grammar check")
    return [one_array(read[name]) for name in names[1:]]


def _as_json(unknown: dict[str, pa.Array], count: int) -> pa.Array:
    """Objects of the unknown columns that have a value; null where none has."""
    filled = {name: values for name, values in unknown.items() if values.null_count < len(values)}
    nothing = pa.nulls(count, pa.string())
    if not filled:
        return nothing
    wanted = rows_of(np.logical_or.reduce([present(values) for values in filled.values()]))
    some = {f"c{place}": values.take(pa.array(wanted)) for place, values in enumerate(filled.values())}
    pairs = ", ".join("'{}', c{}".format(name.replace("'", "''"), place) for place, name in enumerate(filled))
    sql = f"SELECT o, json_merge_patch('{{}}', json_object({pairs}))::VARCHAR AS v FROM t"
    return replace(nothing, wanted, one_array(query(sql, **some)["v"]))
