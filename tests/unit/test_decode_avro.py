"""Avro decoding on topics: framing, writers' schemas, whole records only."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from decoding import MICROS, NOW, SOURCES, rows_of, with_fields
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode import RegistryUnavailable, open_registry

BID = dict(SOURCES["bid_requests"].schema)
MINIMAL = {"user_id": "u", "auction_id": "a", "event_ts": NOW, "targeting": ["geo=US"]}
DEFAULTS = {field["name"]: None for field in BID["fields"] if "default" in field}
MICROS_TYPE = {"type": "long", "logicalType": "timestamp-micros"}


@dataclass
class Schemas:
    """A registry that has the schemas given."""

    texts: Mapping[int, str]

    def schema(self, schema_id: int) -> str | None:
        return self.texts.get(schema_id)


REGISTRY = Schemas({1: json.dumps(BID)})


def framed(schema: Any, record: Any, schema_id: int = 1) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def bid(**fields: Any) -> bytes:
    return framed(BID, {**DEFAULTS, **MINIMAL, **fields})


def record_schema(**types: Any) -> dict[str, Any]:
    return {"type": "record", "name": "W", "fields": [{"name": name, "type": kind} for name, kind in types.items()]}


def written(schema: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    (row,) = rows_of("bid_requests", [framed(schema, record)], registry=Schemas({1: json.dumps(schema)}))
    return row


def test_the_minimal_bid_request_of_the_case_is_accepted() -> None:
    (row,) = rows_of("bid_requests", [bid()], registry=REGISTRY)
    assert row["_reason"] is None, row["_error"]
    assert (row["user_id"], row["targeting"], row["event_ts"]) == ("u", ["geo=US"], NOW)
    assert row["_synthetic_id"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\0\0\0", "invalid_avro"),
        (b"\1" + bid()[1:], "invalid_avro"),
        (bid()[:-1], "invalid_avro"),
        (bid() + b"\0", "invalid_avro"),
        (bid()[:5], "invalid_avro"),
        (bid(site="é").replace("é".encode(), b"\xff\xff"), "invalid_avro"),
        (b"\0\0\0\0\2" + bid()[5:], "unknown_schema"),
        (bid(user_id=""), "missing_field"),
        (bid(event_ts=datetime(2020, 1, 1, tzinfo=UTC)), "event_time_out_of_range"),
        (bid(event_ts=datetime(9999, 1, 1, tzinfo=UTC)), "event_time_out_of_range"),
    ],
)
def test_each_fault_has_its_reason(payload: bytes | None, reason: str) -> None:
    before, row, behind = rows_of("bid_requests", [bid(), payload, bid()], registry=REGISTRY)
    assert row["_reason"] == reason, row
    assert (before["_reason"], behind["_reason"]) == (None, None)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_bad_record_does_not_shift_those_behind_it(cut: int) -> None:
    payloads = [bid(user_id=f"u{n}") for n in range(60)]
    for n in range(0, 60, 7):
        payloads[n] = payloads[n][:-cut] if n % 2 else payloads[n] + b"\2" * cut
    rows = rows_of("bid_requests", payloads, registry=REGISTRY)
    assert [row["user_id"] for row in rows] == [None if n % 7 == 0 else f"u{n}" for n in range(60)]


def test_writers_with_other_schemas_meet_in_one_batch_in_order() -> None:
    older = record_schema(
        auction_id="string", event_ts={"type": "long", "logicalType": "timestamp-millis"}, user_id="string",
        targeting={"type": "array", "items": "string"}, bid_micros="int", seat=["null", "string"],
        site={"type": "enum", "name": "S", "symbols": ["a_example", "b_example"]},
    )  # fmt: skip
    old = framed(
        older,
        {
            "auction_id": "x",
            "event_ts": NOW,
            "user_id": "o",
            "targeting": [],
            "bid_micros": 5,
            "seat": "s",
            "site": "b_example",
        },
        7,
    )
    registry = Schemas({1: json.dumps(BID), 7: json.dumps(older)})
    rows = rows_of("bid_requests", [old, bid(), old, bid(bid_micros=2**40)], registry=registry)
    assert [row["_reason"] for row in rows] == [None] * 4, rows
    assert [row["user_id"] for row in rows] == ["o", "u", "o", "u"]
    assert [row["bid_micros"] for row in rows] == [5, None, 5, 2**40]
    assert [row["site"] for row in rows] == ["b_example", None, "b_example", None]
    assert [row["_rescued"] and json.loads(row["_rescued"]) for row in rows] == [
        {"seat": "s"},
        None,
        {"seat": "s"},
        None,
    ]
    assert {row["event_ts"] for row in rows} == {NOW}


@pytest.mark.parametrize(
    ("kind", "value", "field", "expected"),
    [
        ("long", 5, "user_id", "5"),
        ("string", "12", "floor_micros", 12),
        ("double", 12.0, "floor_micros", 12),
        ("double", 12.5, "floor_micros", "invalid_type"),
        ("string", "1.5", "floor_micros", "invalid_type"),
        ("boolean", True, "floor_micros", "invalid_type"),
        ("long", 1, "won", "invalid_type"),
        ("string", "true", "won", True),
        ("bytes", "é".encode(), "site", "é"),
        ("bytes", b"\xff", "site", "invalid_type"),
        ("long", MICROS // 1000, "event_ts", NOW),
        ("string", "2026-03-01T13:00:00+01:00", "event_ts", NOW),
        ({"type": "long", "logicalType": "timestamp-nanos"}, MICROS * 1000 + 7, "event_ts", NOW),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime(2026, 3, 1, 12), "event_ts", NOW),  # noqa: DTZ001
        ({"type": "int", "logicalType": "date"}, date(2026, 3, 1), "event_ts", "invalid_type"),
        (["null", "string", "long"], 7, "user_id", "7"),
        (["null", "string", "long"], "seven", "floor_micros", "invalid_type"),
        (["string"], "x", "user_id", "x"),
        ("double", float("nan"), "floor_micros", "invalid_type"),
        (["null", "double"], float("inf"), "site", "invalid_type"),
        ("float", 0.5, "site", "invalid_type"),
        ({"type": "string", "logicalType": "uuid"}, "6f1c7d1e-0000-4000-8000-000000000000", "user_id", "6f1c7d1e-0000-4000-8000-000000000000"),  # noqa: E501
        ({"type": "array", "items": "long"}, [1], "targeting", "invalid_type"),
        ({"type": "array", "items": ["null", "string"]}, ["a", None], "targeting", "invalid_type"),
        ({"type": "array", "items": ["null", "string"]}, ["a", "b"], "targeting", ["a", "b"]),
        ({"type": "map", "values": "string"}, {"a": "b"}, "site", "invalid_type"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("1.25"), "site", "invalid_type"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_writers_type_is_taken_only_without_loss(kind: Any, value: Any, field: str, expected: Any) -> None:
    types: dict[str, Any] = {
        "user_id": "string", "auction_id": "string", "event_ts": MICROS_TYPE,
        "targeting": {"type": "array", "items": "string"}, field: kind,
    }  # fmt: skip
    row = written(record_schema(**types), {**MINIMAL, field: value})
    odd = written(record_schema(**types, odd=["null", "int", "long"]), {**MINIMAL, field: value, "odd": None})
    assert (odd[field], odd["_reason"], odd["_rescued"]) == (row[field], row["_reason"], row["_rescued"])
    if expected == "invalid_type":
        assert row["_reason"] == "invalid_type", row
        assert field in row["_error"]
    else:
        assert row["_reason"] is None, row["_error"]
        assert row[field] == expected


@pytest.mark.parametrize("kind", ["timestamp-millis", "local-timestamp-millis"])
def test_a_time_beyond_64_bits_of_microseconds_is_no_other_time(kind: str) -> None:
    # Times a thousand, and cut to 64 bits, it is NOW
    wrapped = MICROS // 8 * pow(125, -1, 2**61) % 2**61 + 2**61
    assert wrapped * 1_000 % 2**64 == MICROS
    schema = record_schema(**{**dict.fromkeys(("user_id", "auction_id"), "string"), "event_ts": "long",
                              "targeting": {"type": "array", "items": "string"}})  # fmt: skip
    told = json.dumps(schema).replace('"long"', json.dumps({"type": "long", "logicalType": kind}))
    payloads = [
        framed(schema, {**MINIMAL, "event_ts": each}) for each in (wrapped, -wrapped, MICROS // 1_000, 2**63 - 1)
    ]
    rows = rows_of("bid_requests", payloads, registry=Schemas({1: told}))
    assert [row["_reason"] for row in rows] == ["invalid_type", "invalid_type", None, "invalid_type"], rows


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ({"type": "int", "logicalType": "date"}, "event_ts", 2**31 - 1),
        ({"type": "long", "logicalType": "timestamp-nanos"}, "floor_micros", 2**63 - 1),
        ({"type": "long", "logicalType": "timestamp-micros"}, "site", 2**63 - 1),
        ({"type": "array", "items": {"type": "int", "logicalType": "date"}}, "targeting", [2**31 - 1]),
        ({"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}, "unknown", [2**63 - 1]),
        ({"type": "int", "logicalType": "date"}, "unknown", 2**31 - 1),
    ],
)
def test_dates_beyond_a_calendar_are_values_that_do_not_fit(kind: Any, field: str, value: Any) -> None:
    types = {"user_id": "string", "auction_id": "string", "event_ts": MICROS_TYPE,
             "targeting": {"type": "array", "items": "string"}, field: kind}  # fmt: skip
    bare = json.loads(re.sub(r', "logicalType": "[a-z-]+"', "", json.dumps(record_schema(**types))))
    payload = framed(bare, {**MINIMAL, "event_ts": MICROS, field: value})
    good = {"event_ts": MICROS, field: [5] if isinstance(value, list) else 5}
    good = framed(bare, {**MINIMAL, **good}) if field == "unknown" else b""
    registry = Schemas({1: json.dumps(record_schema(**types))})
    before, row, behind = rows_of("bid_requests", [good, payload, good], registry=registry)
    assert row["_reason"] in (["invalid_type"] if field != "unknown" else ["invalid_avro", None]), row
    assert before["_reason"] == behind["_reason"] == (None if good else "empty")


def test_fields_are_found_by_path_and_the_rest_is_kept(tmp_path: Path) -> None:
    source = with_fields(tmp_path, "bid_requests", "mapping: {user_id: user.id, site: site.domain}\n")
    schema = record_schema(
        auction_id="string", event_ts=MICROS_TYPE, targeting={"type": "array", "items": "string"},
        user=record_schema(id="string", age=["null", "int"]) | {"name": "U"},
        site=["null", record_schema(domain="string") | {"name": "Site"}],
    )  # fmt: skip
    record = {**MINIMAL, "user": {"id": "n", "age": 7}, "site": {"domain": "a.example"}}
    payloads = [framed(schema, each) for each in (record, {**record, "site": None})]
    first, second = rows_of(source, payloads, registry=Schemas({1: json.dumps(schema)}))
    assert (first["_reason"], first["user_id"], first["site"], second["site"]) == (None, "n", "a.example", None)
    assert json.loads(first["_rescued"]) == {"user": {"id": "n", "age": 7}}


@pytest.mark.parametrize("inmost", ["int", {"type": "enum", "name": "E", "symbols": ["a"]}], ids=["int", "enum"])
@pytest.mark.parametrize("depth", [39, 40, 41, 46])
def test_records_in_records_land_up_to_the_depth_that_a_schema_may_have(depth: int, inmost: Any) -> None:
    kind, value = inmost, 1 if inmost == "int" else "a"
    text = json.dumps(value)
    for level in range(depth):
        kind, value = {"type": "record", "name": f"R{level}", "fields": [{"name": "r", "type": kind}]}, {"r": value}
        text = f'{{"r":{text}}}'
    schema = {**BID, "fields": [*BID["fields"], {"name": "deep", "type": kind}]}
    row = written(schema, {**DEFAULTS, **MINIMAL, "deep": value})
    assert row["_reason"] is None, row["_error"]
    assert row["_rescued"] == f'{{"deep":{text}}}'


def nested(depth: int) -> Any:
    kind: Any = "string"
    for level in range(depth):
        kind = {"type": "record", "name": f"N{level}", "fields": [{"name": "x", "type": kind}]}
    return kind


def doubling(levels: int) -> str:
    """A schema of a few lines that expands to 2^levels fields."""
    types: list[Any] = [{"type": "record", "name": "D0", "fields": [{"name": "x", "type": "int"}]}]
    for level in range(1, levels):
        below = f"D{level - 1}"
        fields = [{"name": "a", "type": below}, {"name": "b", "type": below}]
        types.append({"type": "record", "name": f"D{level}", "fields": fields})
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return json.dumps({"type": "record", "name": "Top", "fields": fields})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(nested(300)),
        '{"type":"array","items":' * 5000 + '"int"' + "}" * 5000,
        '{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}',
        doubling(40),
        '"string"',
        '{"type":"record","name":"X","fields":[{"name":"a","type":"Nowhere"}]}',
        '{"type":"record","name":"X"}',
        "not json",
        '{"type":"record","name":"X","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":-1}}]}',
        '{"type":"record","name":"X","fields":[{"name":"a b","type":"int"}]}',
        '{"type":"record","name":"X","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}',
        '{"type":"record","name":"X","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["a.b"]}}]}',
        "[]",
        "7",
    ],
)
def test_a_writers_schema_that_would_harm_is_refused(text: str) -> None:
    (row,) = rows_of("bid_requests", [b"\0\0\0\0\1abc"], registry=Schemas({1: text}))
    assert row["_reason"] == "invalid_avro"
    assert "schema 1" in row["_error"]


def test_a_recursive_schema_is_called_so() -> None:
    for text in (
        '{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}',
        '{"type":"record","name":"L","fields":[{"name":"x","type":{"type":"record","name":"L","fields":[]}}]}',
    ):
        (row,) = rows_of("bid_requests", [b"\0\0\0\0\1abc"], registry=Schemas({1: text}))
        assert "recursive in L" in row["_error"]


def test_a_few_bytes_cannot_claim_many_items() -> None:
    schema = record_schema(nothing={"type": "array", "items": "null"}, many={"type": "array", "items": "long"})
    huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"  # a count of 2^62
    payloads = [b"\0\0\0\0\1" + huge + b"\0\0", b"\0\0\0\0\1\0" + huge + b"\0"]
    rows = rows_of("bid_requests", payloads, registry=Schemas({1: json.dumps(schema)}))
    assert [row["_reason"] for row in rows] == ["invalid_avro"] * 2


def test_long_lists_are_read_too() -> None:
    segments = [f"s{n}" for n in range(3000)]
    long, short = rows_of("bid_requests", [bid(user_segments=segments), bid()], registry=REGISTRY)
    assert (long["_reason"], long["user_segments"], short["_reason"]) == (None, segments, None)


def test_without_a_registry_nothing_is_rejected_but_the_landing_stops(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="no registry is set"):
        rows_of("bid_requests", [bid()])
    with pytest.raises(RegistryUnavailable, match="no such folder"):
        rows_of("bid_requests", [bid()], registry=open_registry(str(tmp_path / "gone")))
    assert open_registry("") is None


def test_a_folder_of_schemas_is_a_registry(tmp_path: Path) -> None:
    (tmp_path / "1.avsc").write_text(json.dumps(BID), encoding="utf-8")
    registry = open_registry(str(tmp_path))
    rows = rows_of("bid_requests", [bid(), b"\0\0\0\0\2x"], registry=registry)
    assert [row["_reason"] for row in rows] == [None, "unknown_schema"]


PAYLOADS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.binary(max_size=60).map(lambda body: b"\0\0\0\0\1" + body),
    st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=4)).map(
        lambda cut: bid()[: cut[0] + 5] + cut[1] + bid()[cut[0] + 5 + len(cut[1]) :]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PAYLOADS, max_size=15))
def test_any_bytes_give_one_row_each_and_are_valid_when_fastavro_says_so(payloads: list[bytes | None]) -> None:
    schema = fastavro.parse_schema(BID)
    for row, payload in zip(rows_of("bid_requests", payloads, registry=REGISTRY), payloads, strict=True):
        if not payload or not payload.startswith(b"\0\0\0\0\1"):
            continue
        stream = io.BytesIO(payload[5:])
        try:
            record = fastavro.schemaless_reader(stream, schema, None)
            whole = stream.tell() == len(payload) - 5
            usual = whole and framed(BID, record) == payload  # fastavro takes a union's branch -1 for the last one
        except OverflowError:
            continue  # a date beyond Python's: ours is out of range, not broken
        except (EOFError, ValueError, IndexError, TypeError):
            whole = usual = False
        if usual:
            assert row["_reason"] != "invalid_avro", (payload, row["_error"])
        if not whole:
            assert row["_reason"] is not None, f"accepted what fastavro does not read: {payload!r}"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LONG = st.integers(0, 2**63 - 1)  # no price is negative
RECORDS = st.fixed_dictionaries(
    {"user_id": TEXT.filter(bool), "auction_id": TEXT.filter(bool), "targeting": st.lists(TEXT, max_size=4)},
    optional={"site": TEXT, "bid_micros": LONG, "won": st.booleans(), "user_segments": st.lists(TEXT, max_size=3)},
)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=12))
def test_valid_records_have_the_values_fastavro_reads(records: list[dict[str, Any]]) -> None:
    payloads = [bid(**each) for each in records]
    for row, payload in zip(rows_of("bid_requests", payloads, registry=REGISTRY), payloads, strict=True):
        assert row["_reason"] is None, row["_error"]
        plain = fastavro.schemaless_reader(io.BytesIO(payload[5:]), fastavro.parse_schema(BID), None)
        assert isinstance(plain, dict)
        for name, value in plain.items():
            if name != "event_id":
                assert row[name] == value, name
