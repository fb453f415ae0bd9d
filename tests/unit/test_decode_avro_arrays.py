"""Columns made of what the walk met hold what fastavro reads, for any flat schema, also beside broken records."""

import io
import json
from datetime import UTC, date, datetime
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode.avro_arrays import Arrays, is_flat
from kafka_sinks.decode.avro_schema import checked_schema
from kafka_sinks.decode.avro_walk import walk_records
from kafka_sinks.decode.columns import bounds

SYMBOLS = ["A", "BB"]
LONGS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**57), 2**57), st.integers(-99, 99))
DAYS = st.dates(date(1900, 1, 1), date(2200, 1, 1))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001  # hypothesis wants them so
LEAVES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "boolean": ("boolean", st.booleans()),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", LONGS),
    "float": ("float", st.floats(width=32, allow_nan=False)),
    "double": ("double", st.floats(allow_nan=False)),
    "string": ("string", st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    "bytes": ("bytes", st.binary(max_size=9)),
    "date": ({"type": "int", "logicalType": "date"}, DAYS),
    "micros": ({"type": "long", "logicalType": "timestamp-micros"}, MOMENTS.map(lambda each: each.replace(tzinfo=UTC))),
    "local": ({"type": "long", "logicalType": "local-timestamp-micros"}, MOMENTS),
}
BROKEN = [b"", b"\x02", b"\xff" * 40]


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    fields, values = [], {}
    for number in range(draw(st.integers(1, 5))):
        name = f"f{number}"
        kind, of_kind = draw(st.sampled_from([*LEAVES.values(), ("enum", st.sampled_from(SYMBOLS))]))
        if kind == "enum":
            kind = {"type": "enum", "name": f"E{number}", "symbols": SYMBOLS}
        if draw(st.booleans()):
            kind, of_kind = {"type": "array", "items": kind}, st.lists(of_kind, max_size=4)
        shape = draw(st.integers(0, 2))
        fields.append({"name": name, "type": [kind, ["null", kind], [kind, "null"]][shape]})
        values[name] = of_kind if shape == 0 else st.none() | of_kind
    records = draw(st.lists(st.fixed_dictionaries(values), max_size=8))
    return {"type": "record", "name": "R", "fields": fields}, records


def walked(schema: dict[str, Any], bodies: list[bytes]) -> tuple[np.ndarray[Any, Any], pa.StructArray | None]:
    """Which bodies are whole records, and those as columns."""
    offsets, octets = bounds(pa.array(bodies, pa.binary()))
    walk = walk_records(schema, offsets[:-1], offsets[1:], octets, keep=True)
    good = np.flatnonzero(~walk.bad)
    return good, Arrays(walk, octets, good).records(schema)


@settings(max_examples=150, deadline=None)
@given(batches(), st.lists(st.tuples(st.integers(0, 8), st.sampled_from(BROKEN)), max_size=3))
def test_columns_hold_what_fastavro_reads(
    batch: tuple[dict[str, Any], list[dict[str, Any]]], broken: list[tuple[int, bytes]]
) -> None:
    schema = checked_schema(json.dumps(batch[0]))
    assert is_flat(schema)
    parsed = fastavro.parse_schema(schema)
    bodies = []
    for record in batch[1]:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, record)
        bodies.append(out.getvalue())
    for place, body in broken:
        bodies.insert(place, body)
    good, records = walked(schema, bodies)
    assert records is not None
    expected = [fastavro.schemaless_reader(io.BytesIO(bodies[row]), parsed, None) for row in good]
    assert records.to_pylist() == expected
    assert len(good) >= len(batch[1])


def test_whole_numbers_of_any_length_keep_each_bit() -> None:
    schema = checked_schema(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": "long"}]}))
    numbers = [sign * 2**power + more for power in range(63) for sign in (1, -1) for more in (-1, 0, 1)]
    numbers += [2**63 - 1, -(2**63)]
    bodies = []
    for number in numbers:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, {"f": number})
        bodies.append(out.getvalue())
    assert {len(each) for each in bodies} == set(range(1, 11))
    records = walked(schema, bodies)[1]
    assert records is not None
    assert records.field("f").to_pylist() == numbers


def test_a_list_may_come_in_several_blocks() -> None:
    schema = checked_schema(
        json.dumps(
            {"type": "record", "name": "R", "fields": [{"name": "f", "type": {"type": "array", "items": "string"}}]}
        )
    )
    # Two items, one behind the bytes of its block, none
    several = b"\x04\x02a\x04bc\x01\x04\x02d\x00"
    good, records = walked(schema, [several, b"\x00", b"\x02\x02e\x00"])
    assert good.tolist() == [0, 1, 2]
    assert records is not None
    assert records.to_pylist() == [{"f": ["a", "bc", "d"]}, {"f": []}, {"f": ["e"]}]


def test_a_text_that_is_no_utf8_is_left_to_the_other_reader() -> None:
    schema = checked_schema(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": "string"}]}))
    assert walked(schema, [b"\x02a", b"\x02\xff"])[1] is None


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "string"},
        {"type": "array", "items": ["null", "string"]},
        {"type": "array", "items": {"type": "array", "items": "int"}},
        {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
        ["null", "string", "int"],
        {"type": "record", "name": "S", "fields": [{"name": "g", "type": "int"}]},
    ],
)
def test_other_schemas_are_left_to_the_other_reader(kind: Any) -> None:
    fields = [{"name": "f", "type": kind}]
    assert not is_flat(checked_schema(json.dumps({"type": "record", "name": "R", "fields": fields})))
