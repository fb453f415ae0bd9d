"""Reading plain JSON records by themselves changes no row of any batch, and is really done."""

import json
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from decoding import MICROS, SOURCES, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode import json_records
from kafka_sinks.decode.json_plain import plain_records

PLAIN = {"creative_id": "cr", "user_id": "u", "event_ts": MICROS, "site": "a.example", "price_micros": 7}
TEXTS = st.sampled_from(
    ["", "x", ":", "a:b", '"', "\\", "{", "[1]", "ü", "漢", "\n", "null", "true", "1", "NaN", "a,b", " "]
)
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(
        [None, True, False, 0, 5, -1, 1.5, 1e300, 10**25, {}, {"a": "b"}, [], ["x"], [1], {"a": {"b": [2]}}]
    ),
)
FIELDS = st.sampled_from(
    ["event_id", "url", "user_id", "viewable", "price_micros", "event_ts", "unknown", "", "ü", "a:b"]
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])
WRAPPINGS = st.sampled_from([("", "")] * 8 + [(" ", ""), ("", "\n"), ("[", "]"), ("", ","), ("", "x"), ("\ufeff", "")])


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A record that is plain but for some odd fields, spaces, a key that is there twice, or text around it."""
    odd = draw(st.lists(st.tuples(FIELDS, VALUES), max_size=3))
    between, after_key = draw(SEPARATORS)
    fields = [*PLAIN.items(), *odd]
    if not draw(st.booleans()):
        fields = list(dict(fields).items())
    inside = between.join(
        json.dumps(key, ensure_ascii=False) + after_key + json.dumps(value, ensure_ascii=False) for key, value in fields
    )
    before, behind = draw(WRAPPINGS)
    return f"{before}{{{inside}}}{behind}".encode()


def plain_of(batch: list[bytes]) -> np.ndarray[Any, Any]:
    return plain_records(SOURCES["impressions"], pa.array([each.decode() for each in batch]))[0]


def without_plain(batch: list[bytes]) -> list[dict[str, Any]]:
    none = np.zeros(len(batch), dtype=np.bool_)
    with patch.object(json_records, "plain_records", lambda *_: (none, {})):
        return rows_of("impressions", batch)


@settings(max_examples=60, deadline=None)
@given(st.lists(payloads(), min_size=1, max_size=12))
def test_plain_or_not_the_rows_are_the_same(some: list[bytes]) -> None:
    # Most are plain, else reading them as such is not tried
    batch = [*some, *[json.dumps(PLAIN).encode()] * (len(some) + 1)]
    assert plain_of(batch).any()
    assert rows_of("impressions", batch) == without_plain(batch)


@pytest.mark.parametrize(
    ("record", "plain"),
    [
        (PLAIN, True),
        ({**PLAIN, "user_agent": "Mozilla/5.0 (X11; Linux) a:b, c"}, True),
        ({**PLAIN, "price_micros": "7"}, True),
        ({**PLAIN, "user_id": 5}, False),
        ({**PLAIN, "user_id": True}, False),
        ({**PLAIN, "user_id": 5, "unknown": 1}, False),
        ({**PLAIN, "user_id": 5, "unknown": "x"}, False),
        ({**PLAIN, "url": None}, False),
        ({**PLAIN, "unknown": "x"}, False),
        ({**PLAIN, "url": 'a"b'}, False),
        ({**PLAIN, "url": {"a": "b"}}, False),
        # As many quotes as a plain record: a text that is none takes two away, these bring two
        ({**PLAIN, "user_id": 5, "url": 'say "hi"'}, False),
        ({**PLAIN, "user_id": {"a": 1}}, False),
        # A quote before a colon would count as the end of a key, one before a space as that of no key
        ({**PLAIN, "url": ":x"}, False),
        ({**PLAIN, "url": " x"}, False),
        ({**PLAIN, "price_micros": float("nan")}, False),
        ({**PLAIN, "price_micros": float("-inf")}, False),
    ],
)
def test_which_records_are_plain(record: dict[str, Any], plain: bool) -> None:
    batch = [json.dumps(each).encode() for each in (PLAIN, record, PLAIN)]
    assert plain_of(batch).tolist() == [True, plain, True]


@pytest.mark.parametrize(
    "record",
    [
        # A key that is not counted, and a text that is none, whose quotes the key has
        json.dumps({**PLAIN, "user_id": 5})[:-1] + ', "unknown" : 1}',
        json.dumps({**PLAIN, "user_id": 5})[:-1] + ', "unknown"\t: 1}',
        json.dumps(PLAIN)[:-1] + ', "url": {"a": "b"}, "x": []}',
        '{"creative_id": "cr", "user_id": 5, "unknown" : 1}',
    ],
)
def test_a_key_before_white_space_is_found(record: str) -> None:
    batch = [json.dumps(PLAIN), record, json.dumps(PLAIN)]
    assert plain_of([each.encode() for each in batch]).tolist() == [True, False, True]


@pytest.mark.parametrize("end", [",}", ", }", "}}", "} ", "}\n{}"])
def test_a_record_with_an_odd_end_is_not_plain(end: str) -> None:
    record = json.dumps(PLAIN)
    assert plain_of([record.encode(), (record[:-1] + end).encode(), record.encode()]).tolist() == [True, False, True]


@pytest.mark.parametrize("record", ["{x}", "{1}", "{,}"])
def test_brackets_around_no_json_are_not_plain(record: str) -> None:
    batch = [json.dumps(PLAIN), record, json.dumps(PLAIN)]
    assert plain_of([each.encode() for each in batch]).tolist() == [True, False, True]


@pytest.mark.parametrize("before", range(0, 220, 3))
def test_an_error_that_quotes_half_a_character_is_one_bad_record(before: int) -> None:
    bad = '{"event_id":"' + "a" * before + "\N{GRINNING FACE}" * 60 + '" "site":"b"}'
    batch = [json.dumps(PLAIN)] * 3 + [bad]
    found = rows_of("impressions", [each.encode() for each in batch])
    assert [row["_reason"] for row in found] == [None, None, None, "invalid_json"]


def test_bytes_under_a_null_are_not_read() -> None:
    texts = pa.array([json.dumps(PLAIN)] * 3)
    hidden = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), *texts.buffers()[1:]])
    assert plain_records(SOURCES["impressions"], hidden)[0].tolist() == [True, False, True]


@pytest.mark.parametrize("turn", [3, 50, 100])
def test_odd_records_in_turns_do_not_keep_the_others_from_being_read_as_plain(turn: int) -> None:
    batch = [json.dumps(PLAIN).encode() if number % turn else b"{bad" for number in range(5_000)]
    assert plain_of(batch).sum() == 5_000 - len(range(0, 5_000, turn))


def test_records_that_are_mostly_not_plain_are_not_tried() -> None:
    batch = [json.dumps({**PLAIN, "url": None}).encode()] * 3 + [json.dumps(PLAIN).encode()]
    assert not plain_of(batch).any()
