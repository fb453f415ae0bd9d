"""Values to the types of the schema, strictly: a value that does not fit is a fault, never rounded or guessed.

Belongs here: which texts and values a type takes. Not here: where they come from (a module each format), what is
required (finish.py).

A number may stand as a JSON number or as text; `1.0` is the integer 1, `1.5` is no integer. A text field also takes
an integer number, but no fraction, truth value, object or list. Truth values are `true` and `false`. Dates are
YYYY-MM-DD. Lists are JSON arrays of strings. Times are ISO 8601 (without a zone: UTC; digits beyond microseconds
are cut), or whole numbers since 1970 whose size tells the unit: seconds below 10^11, milliseconds below 10^14,
microseconds below 10^17 (each reaches to the year 5138).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.columns import Column, blank, octet, on_rows, one_array, present, query, replace, utf8
from kafka_sinks.decode.verdicts import Mask, Verdicts, rows_of, shown
from kafka_sinks.schemas import TIMESTAMP, SchemaField

SECONDS_BELOW, MILLIS_BELOW, MICROS_BELOW = 10**11, 10**14, 10**17
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
WHOLE = "[+-]?[0-9]+"
FRACTION = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
SURE_DIGITS = 18  # of a number that 64 bits surely hold
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
QUOTE, MINUS, OPEN_LIST = ord('"'), ord("-"), ord("[")
WORDS = {"string": "text", "bool": "true or false", "date32[day]": "date (YYYY-MM-DD)", "double": "number"}


def typed(field: SchemaField, column: Column, verdicts: Verdicts) -> pa.Array:
    """The column in the field's type; rejects the rows whose value does not fit, and makes it null there."""
    values = column.values
    if values.null_count == len(values):
        return pa.nulls(len(values), field.type)
    result = _of_text(field, column) if pa.types.is_string(values.type) else _of_native(field, values)
    bad = rows_of(present(values) & ~present(result))
    if len(bad):
        kind = _word(field.type)
        found = map(_told, values.take(pa.array(bad)))
        verdicts.reject(bad, "invalid_type", (f"{field.name}: {shown(each)} is no {kind}" for each in found))
    return result


def _told(value: pa.Scalar) -> object:
    """A value for an error; Python's calendar ends in the year 9999, and knows no nanoseconds."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"a {value.type} out of Python's range"


def _word(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "time (ISO 8601, or a number of seconds, milliseconds or microseconds)"
    if pa.types.is_integer(kind):
        return f"integer of {kind.bit_width} bits"
    if pa.types.is_list(kind):
        return "list of texts"
    if pa.types.is_decimal(kind):
        return f"decimal number with up to {kind.scale} digits after the point"
    return WORDS.get(str(kind), str(kind))


def _of_text(field: SchemaField, column: Column) -> pa.Array:
    kind, texts = field.type, column.values
    if pa.types.is_string(kind):
        return _texts(column)
    if pa.types.is_integer(kind):
        return _integers(texts, kind)
    if pa.types.is_timestamp(kind):
        return _times(texts, days=field.name != "event_ts")
    if pa.types.is_boolean(kind):
        return pc.if_else(pc.equal(texts, "true"), True, pc.if_else(pc.equal(texts, "false"), False, None))
    if pa.types.is_floating(kind):
        return _finite(_fractions(texts))
    if pa.types.is_list(kind):
        return _lists(texts if column.kinds is None else blank(texts, column.kinds != OPEN_LIST))
    if pa.types.is_date(kind):
        return _asked(texts, f"CASE WHEN regexp_full_match(x, '{DAY}') THEN try_cast(x AS DATE) END", kind)
    pattern = rf"[+-]?[0-9]+(\.[0-9]{{0,{kind.scale}}}0*)?"
    cast = f"try_cast(x AS DECIMAL({kind.precision}, {kind.scale}))"
    return _asked(texts, f"CASE WHEN regexp_full_match(x, '{pattern}') THEN {cast} END", kind)


def _of_native(field: SchemaField, values: pa.Array) -> pa.Array:
    """Values of an Avro writer's type in ours; what loses nothing is taken, all else becomes null."""
    kind, theirs = field.type, values.type
    if theirs.equals(kind):
        return values
    if pa.types.is_null(theirs):
        return pa.nulls(len(values), kind)
    if pa.types.is_dictionary(theirs):
        return _of_native(field, values.cast(theirs.value_type))
    if pa.types.is_large_string(theirs) or pa.types.is_string_view(theirs) or pa.types.is_string(theirs):
        texts = values.cast(pa.string())
        return texts if pa.types.is_string(kind) else _of_text(field, Column(texts))
    if pa.types.is_binary(theirs) or pa.types.is_large_binary(theirs):
        return utf8(values.cast(pa.binary())) if pa.types.is_string(kind) else pa.nulls(len(values), kind)
    if pa.types.is_integer(theirs):
        if pa.types.is_timestamp(kind):
            return _epochs(values.cast(pa.int64()))
        if pa.types.is_integer(kind) or pa.types.is_string(kind):
            return _of_text(field, Column(values.cast(pa.string()))) if kind != pa.int64() else values.cast(kind)
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _of_text(field, Column(values.cast(pa.string())))
    if pa.types.is_timestamp(theirs) and pa.types.is_timestamp(kind):
        near = blank(values, _beyond(values.cast(pa.int64()), PER_SECOND[kind.unit] // PER_SECOND[theirs.unit]))
        return near.cast(pa.timestamp(theirs.unit, "UTC")).cast(kind, safe=False)  # digits beyond microseconds are cut
    if pa.types.is_floating(theirs):
        if pa.types.is_floating(kind):
            return _finite(values.cast(kind))
        if pa.types.is_integer(kind):
            numbers = values.cast(pa.float64())
            end = min(2.0**53, _end(kind))
            inside = pc.and_(pc.greater_equal(numbers, -end), pc.less(numbers, end))
            return pc.if_else(pc.and_(inside, pc.equal(numbers, pc.floor(numbers))), numbers, None).cast(kind)
    if pa.types.is_decimal(theirs) and pa.types.is_decimal(kind):
        return _of_text(field, Column(values.cast(pa.string())))
    if _is_list(theirs) and pa.types.is_list(kind):
        item = theirs.value_type
        if pa.types.is_string(item) or pa.types.is_large_string(item) or pa.types.is_string_view(item):
            lists = values.cast(kind)
            return blank(lists, _with_null_items(lists))
    return pa.nulls(len(values), kind)


def _beyond(numbers: pa.Array, factor: int) -> Mask:
    """Numbers that 64 bits don't hold `factor` times: multiplied they would be others, a false time among them."""
    most = (2**63 - 1) // max(1, factor)
    there = pc.fill_null(numbers, 0).to_numpy()
    beyond: Mask = (there > most) | (there < -most - 1)
    return beyond


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _with_null_items(lists: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = np.zeros(len(lists), dtype=np.bool_)
    if lists.values.null_count:
        parents = pc.list_parent_indices(lists).to_numpy()
        found[parents[~present(lists.flatten())]] = True
    return found


def _texts(column: Column) -> pa.Array:
    """Strings; of JSON also whole numbers."""
    if column.kinds is None:
        return column.values
    other = (column.kinds != QUOTE) & (column.kinds != 0)
    if not other.any():
        return column.values
    rows = rows_of(other)
    whole = pc.match_substring_regex(column.values.take(pa.array(rows)), r"^-?[0-9]+$")
    bad = np.zeros(len(other), dtype=np.bool_)
    bad[rows[~whole.to_numpy(zero_copy_only=False)]] = True
    return blank(column.values, bad)


def _integers(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Whole numbers, also `1.0`."""
    numbers = _whole(texts)
    left = rows_of(present(texts) & ~present(numbers))
    if len(left):
        sql = f"try_cast(regexp_extract(x, '^({WHOLE})\\.0+$', 1) AS BIGINT)"
        numbers = replace(numbers, left, _asked(texts.take(pa.array(left)), sql, pa.int64()))
    if kind == pa.int64():
        return numbers
    fits = pc.and_(pc.greater_equal(numbers, -_end(kind)), pc.less(numbers, _end(kind)))
    return pc.if_else(fits, numbers, None).cast(kind)


def _end(kind: pa.DataType) -> int:
    """The first whole number that is too large for the type."""
    return int(2 ** (kind.bit_width - 1))


def _whole(texts: pa.Array) -> pa.Array:
    """Whole numbers of 64 bits, null where a text is none. Most are digits only, which Arrow reads by itself."""
    digits = pc.fill_null(pc.ascii_is_decimal(texts), False).to_numpy(zero_copy_only=False)
    size = pc.fill_null(pc.binary_length(texts), 0).to_numpy()
    sure = digits & (size <= SURE_DIGITS)
    numbers = blank(texts, ~sure).cast(pa.int64())
    other = rows_of((digits & ~sure) | np.isin(octet(texts, 0), np.frombuffer(b"+-", dtype=np.uint8)))
    if len(other):
        sql = f"CASE WHEN regexp_full_match(x, '{WHOLE}') THEN try_cast(x AS BIGINT) END"
        numbers = replace(numbers, other, _asked(texts.take(pa.array(other)), sql, pa.int64()))
    return numbers


def _fractions(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return _asked(
            texts, f"CASE WHEN regexp_full_match(x, '{FRACTION}') THEN try_cast(x AS DOUBLE) END", pa.float64()
        )


def _finite(numbers: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _times(texts: pa.Array, *, days: bool) -> pa.Array:
    """Times; with `days` also a date alone, which is its first moment in UTC."""
    numbers = _whole(texts)
    times = _epochs(numbers)
    left = rows_of(present(texts) & ~present(numbers))
    if not len(left):
        return times
    pattern = f"{DAY}({CLOCK})?" if days else DAY + CLOCK
    sql = f"CASE WHEN regexp_full_match(x, '{pattern}') THEN epoch_us(try_cast(x AS TIMESTAMPTZ)) END"
    written = on_rows(left, texts, lambda some: _asked(some, sql, pa.int64()), pa.int64()).cast(TIMESTAMP)
    return written if len(left) == len(texts) else pc.coalesce(times, written)


def _epochs(numbers: pa.Array) -> pa.Array:
    """Whole numbers since 1970 as times, by their size; null where they are too large."""
    there = present(numbers)
    count = pc.fill_null(numbers, 0).to_numpy()
    size = np.abs(count)
    micros = np.where(size < SECONDS_BELOW, count * 1_000_000, np.where(size < MILLIS_BELOW, count * 1_000, count))
    # abs of the least number overflows and stays negative
    outside = (size >= MICROS_BELOW) | (size < 0) | ~there
    return pa.array(micros, mask=outside).cast(TIMESTAMP)


def _lists(texts: pa.Array) -> pa.Array:
    items = "json_extract(x, '$[*]')"
    strict = f"json_type(x) = 'ARRAY' AND len(list_filter({items}, lambda y: left(y::VARCHAR, 1) <> '\"')) = 0"
    sql = f"CASE WHEN json_valid(x) AND {strict} THEN from_json(x, '[\"VARCHAR\"]') END"
    return _asked(texts, sql, pa.list_(pa.string()))


def _asked(texts: pa.Array, sql: str, kind: pa.DataType) -> pa.Array:
    """An SQL expression of each text `x`."""
    return one_array(query(f"SELECT o, {sql} AS v FROM t", x=texts)["v"]).cast(kind)
