"""From typed fields to the rows of a bronze table.

Belongs here: event time, ids of records without one, emptying rejected rows. Not here: types (fields.py), the
landing's own columns (origin.py).

A record without `event_id` gets one: the SHA-256 (hex) of `<source>` and of every business field that has a value,
in the order of their names, each as `\\n<name>:<bytes>:<value>`. Values are texts as they are, numbers in decimal
digits, `true`/`false`, times as microseconds since 1970, dates as YYYY-MM-DD, lists as JSON. A field that is added
later does not change the ids of records without it. With `without_id: keep` the origin of the record is one more
field, `_origin`; so the same record delivered twice stays two events.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.settings import LandingSettings
from kafka_sinks.decode.columns import Typed, blank, one_array, present, query, replace
from kafka_sinks.decode.fields import has_value
from kafka_sinks.decode.verdicts import Rows, Verdicts, rows_of, shown
from kafka_sinks.schemas import TIMESTAMP
from kafka_sinks.sources import Source

DAY_MICROS = 86_400_000_000


def finish(
    source: Source,
    typed: Typed,
    payloads: pa.BinaryArray,
    times: pa.TimestampArray,
    verdicts: Verdicts,
    limits: LandingSettings,
    origins: pa.StringArray | None,
) -> pa.Table:
    """One row a payload: business columns, event_date, _rescued, _synthetic_id, _reason, _error, _raw."""
    columns = dict(typed.columns)
    moments = times if source.dimension else columns["event_ts"]
    if not source.dimension:
        _reject_far(moments, times, limits, verdicts)
    _reject_below(source, columns, verdicts)
    if source.split:
        _reject_unknown(source, columns, verdicts)
    rejected = ~verdicts.accepted
    columns = {name: blank(values, rejected) for name, values in columns.items()}
    synthetic = np.zeros(len(payloads), dtype=np.bool_)
    if not source.dimension:
        synthetic = verdicts.accepted & ~has_value(columns["event_id"])
        columns["event_id"] = _with_ids(source, columns, rows_of(synthetic), origins)
    reason, error = verdicts.columns()
    return pa.table(
        {
            **columns,
            "event_date": blank(_days(moments), rejected),
            "_rescued": blank(typed.rescued, rejected),
            "_synthetic_id": blank(pa.array(synthetic), rejected),
            "_reason": reason,
            "_error": error,
            "_raw": blank(payloads, ~rejected),
        }
    )


def _reject_far(moments: pa.Array, times: pa.Array, limits: LandingSettings, verdicts: Verdicts) -> None:
    """Rejects event times too far from the time of the record: one bad clock would make a partition a day."""
    moment, time = (pc.fill_null(each.cast(pa.int64()), 0).to_numpy() for each in (moments, times))
    early = moment < time - limits.past_days * DAY_MICROS
    late = moment > time + limits.future_days * DAY_MICROS
    for mask, words in (
        (early, f"more than {limits.past_days} d before"),
        (late, f"more than {limits.future_days} d after"),
    ):
        rows = rows_of(mask & present(moments) & verdicts.accepted)
        if len(rows):
            pairs = zip(_written(moments, rows), _written(times, rows), strict=True)
            verdicts.reject(
                rows, "event_time_out_of_range", (f"event_ts: {a} is {words} the record's time {b}" for a, b in pairs)
            )


def _reject_below(source: Source, columns: dict[str, pa.Array], verdicts: Verdicts) -> None:
    """Rejects values below their schema's minimum: one negative price would stop the silver table of its day."""
    for field in source.fields:
        if field.minimum is None:
            continue
        values = columns[field.name]
        below = pc.fill_null(pc.less(values, field.minimum), False).to_numpy(zero_copy_only=False)
        rows = rows_of(below & verdicts.accepted)
        if len(rows):
            found = values.take(pa.array(rows)).to_pylist()
            verdicts.reject(rows, "invalid_value", (f"{field.name}: {each} is below {field.minimum}" for each in found))


def _written(moments: pa.Array, rows: Rows) -> list[str]:
    """Times as text; in Arrow, since Python's datetime ends in the year 9999."""
    written: list[str] = pc.strftime(moments.take(pa.array(rows)), "%Y-%m-%dT%H:%M:%SZ").to_pylist()
    return written


def _reject_unknown(source: Source, columns: dict[str, pa.Array], verdicts: Verdicts) -> None:
    if source.split is None:
        return
    values = columns[source.split.by]
    known = pc.is_in(values, pa.array(source.split.values, values.type)).to_numpy(zero_copy_only=False)
    rows = rows_of(~known & verdicts.accepted)
    if len(rows):
        wanted = ", ".join(source.split.values)
        found = values.take(pa.array(rows)).to_pylist()
        errors = (f"{source.split.by}: {shown(each)} is none of {wanted}" for each in found)
        verdicts.reject(rows, "unknown_type", errors)


def _days(moments: pa.Array) -> pa.Array:
    """The UTC day of each moment."""
    micros = pc.fill_null(moments.cast(pa.int64()), 0).to_numpy()
    days = np.floor_divide(micros, DAY_MICROS).astype(np.int32)
    return pa.array(days, mask=~present(moments)).cast(pa.date32())


def _with_ids(source: Source, columns: dict[str, pa.Array], rows: Rows, origins: pa.StringArray | None) -> pa.Array:
    """Event ids, with synthetic ones in `rows`."""
    if not len(rows):
        return columns["event_id"]
    some = {name: values.take(pa.array(rows)) for name, values in columns.items() if name != "event_id"}
    parts = {name: _canonical(f'"{name}"', values.type) for name, values in sorted(some.items())}
    if source.without_id == "keep":
        if origins is None:
            raise ValueError(f"{source.name} keeps records without id apart: their origins are needed")
        some["_origin"] = origins.take(pa.array(rows))
        parts["_origin"] = '"_origin"'
    fields = ", ".join(f"coalesce(chr(10) || '{name}:' || strlen({v}) || ':' || {v}, '')" for name, v in parts.items())
    found = query(f"SELECT o, sha256(concat('{source.name}', {fields})) AS v FROM t", **some)
    return replace(columns["event_id"], rows, one_array(found["v"]))


def _canonical(column: str, kind: pa.DataType) -> str:
    """SQL of the canonical text of a column."""
    if pa.types.is_string(kind):
        return column
    if kind == TIMESTAMP:
        return f"epoch_us({column})::VARCHAR"
    if pa.types.is_list(kind):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"
