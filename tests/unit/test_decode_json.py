"""JSON decoding: strict, typed, one row a payload."""

import hashlib
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from decoding import MICROS, NOW, rows_of, rows_of_file, with_fields
from hypothesis import given, settings
from hypothesis import strategies as st

MINIMAL = {"creative_id": "cr", "user_id": "u", "event_ts": MICROS, "site": "a.example"}


def impression(**fields: Any) -> bytes:
    return json.dumps({**MINIMAL, **fields}).encode()


def one(payload: bytes | None) -> dict[str, Any]:
    return rows_of("impressions", [payload])[0]


def test_the_minimal_impression_of_the_case_is_accepted() -> None:
    row = one(json.dumps(MINIMAL).encode())
    assert row["_reason"] is None
    assert row["_synthetic_id"] is True
    assert row["event_ts"] == NOW
    assert row["event_date"] == date(2026, 3, 1)
    assert (row["creative_id"], row["user_id"], row["site"], row["url"]) == ("cr", "u", "a.example", None)


@pytest.mark.parametrize(
    ("payload", "reason", "words"),
    [
        (None, "empty", "no payload"),
        (b"", "empty", "no payload"),
        (b" ", "invalid_json", ""),
        (b'{"creative_id"', "invalid_json", ""),
        (b"\xff{}", "invalid_json", "UTF-8"),
        (b'{"a": NaN}', "invalid_json", ""),
        (b'{"price_micros": NaN, "b": 1}', "invalid_json", ""),
        (b'{"price_micros": -Infinity}', "invalid_json", ""),
        (b'{"price_micros": NaN}', "invalid_json", ""),
        (b'{"url": Infinity}', "invalid_json", ""),
        (b'{"a": [1,]}', "invalid_json", ""),
        (b'{"creative_id": "x",}', "invalid_json", ""),
        (b'{"creative_id": "x"\n, }\n', "invalid_json", ""),
        (b'{"site": {"x": [1 ,\n]}}', "invalid_json", ""),
        (b"[1]", "not_a_record", "[1]"),
        (b" null", "not_a_record", ""),
        (b'"text"', "not_a_record", ""),
        (impression(site=None), "missing_field", "site"),
        (impression(site=""), "missing_field", "site"),
        (b"{}", "missing_field", "event_ts, creative_id, user_id, site"),
        (impression(price_micros=-1), "invalid_value", "price_micros: -1 is below 0"),
        (impression(price_micros="a lot"), "invalid_type", "price_micros: 'a lot'"),
        (impression(price_micros=1.5), "invalid_type", "price_micros: '1.5'"),
        (impression(price_micros=2**63), "invalid_type", "price_micros"),
        (impression(price_micros=True), "invalid_type", "price_micros"),
        (impression(viewable=1), "invalid_type", "viewable"),
        (impression(viewable="True"), "invalid_type", "viewable"),
        (impression(url={"x": 1}), "invalid_type", "url"),
        (impression(url=["x"]), "invalid_type", "url"),
        (impression(url=True), "invalid_type", "url"),
        (impression(url=1.5), "invalid_type", "url"),
        (impression(event_ts="yesterday"), "invalid_type", "event_ts: 'yesterday'"),
        (impression(event_ts="2026-03-01"), "invalid_type", "event_ts"),
        (impression(event_ts="2026-02-30T10:00:00Z"), "invalid_type", "event_ts"),
        (impression(event_ts=10**17), "invalid_type", "event_ts"),
        (impression(event_ts=-(2**63)), "invalid_type", "event_ts"),
        (impression(event_ts=MICROS - 401 * 86_400_000_000), "event_time_out_of_range", "400 d before"),
        (impression(event_ts=MICROS + 2 * 86_400_000_000), "event_time_out_of_range", "1 d after"),
        (impression(event_ts=10**17 - 1), "event_time_out_of_range", "5138"),
        (impression(site=None, url=True), "missing_field", "site"),
    ],
)
def test_each_fault_has_its_reason(payload: bytes | None, reason: str, words: str) -> None:
    row = one(payload)
    assert row["_reason"] == reason, row
    assert words in row["_error"]


@pytest.mark.parametrize(
    "given",
    [
        MICROS,
        MICROS // 1000,
        MICROS // 1_000_000,
        str(MICROS),
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00",
        "2026-03-01 12:00",
        "2026-03-01T14:00:00.000+02:00",
        "2026-03-01T06:30:00-0530",
        "2026-03-01T12:00:00.000000999Z",
    ],
)
def test_event_times_are_read_in_each_accepted_form(given: int | str) -> None:
    row = one(impression(event_ts=given))
    assert row["_reason"] is None, row["_error"]
    assert row["event_ts"] == NOW


def test_times_on_both_sides_of_midnight_keep_their_utc_day() -> None:
    last = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
    rows = rows_of(
        "impressions",
        [impression(event_ts=int(each.timestamp() * 1e6)) for each in (last, last + timedelta(microseconds=1))],
    )
    assert [row["event_date"] for row in rows] == [date(2026, 2, 28), date(2026, 3, 1)]


def test_lossless_forms_of_a_value_are_taken() -> None:
    row = one(impression(user_id=12345678901234567890123, price_micros="12", viewable="true", country=49))
    assert row["_reason"] is None, row["_error"]
    assert row["user_id"] == "12345678901234567890123"
    assert (row["price_micros"], row["viewable"], row["country"]) == (12, True, "49")
    assert one(impression(price_micros=12.0))["price_micros"] == 12


def test_strings_are_unescaped() -> None:
    text = 'a "quote", a \\ back\\slash, é, \u0000, 😀, \n'
    for ascii_only in (True, False):
        payload = json.dumps({**MINIMAL, "url": text, "user_agent": '"'}, ensure_ascii=ascii_only).encode()
        row = one(payload)
        assert (row["url"], row["user_agent"]) == (text, '"')


def test_unknown_fields_are_rescued_and_known_ones_are_not_in_them() -> None:
    row = one(impression(campaign="x", nested={"a": [1, None]}, big=12345678901234567890123, url=None))
    assert json.loads(row["_rescued"]) == {"campaign": "x", "nested": {"a": [1, None]}, "big": 12345678901234567890123}
    assert one(impression(url=None))["_rescued"] is None


def test_the_first_of_a_doubled_key_counts() -> None:
    row = one(json.dumps(MINIMAL).encode()[:-1] + b', "user_id": "second"}')
    assert (row["_reason"], row["user_id"]) == (None, "u")


def test_keys_are_case_sensitive() -> None:
    row = one(impression(URL="x"))
    assert row["url"] is None
    assert json.loads(row["_rescued"]) == {"URL": "x"}


def test_pretty_printed_json_is_a_record() -> None:
    row = one(("\r\n " + json.dumps(MINIMAL, indent=4) + "\n\n").encode())
    assert (row["_reason"], row["user_id"]) == (None, "u")


def test_nested_fields_are_mapped_and_what_stands_beside_them_is_kept(tmp_path: Path) -> None:
    source = with_fields(
        tmp_path,
        "impressions",
        "mapping: {creative_id: imp.creative.id, user_id: user.id, ip: device.ip, event_ts: at}\n",
    )
    record: dict[str, Any] = {
        "at": MICROS,
        "site": "a.example",
        "imp": {"creative": {"id": "cr"}},
        "user": {"id": "u"},
        "device": {"ip": "1.2.3.4"},
    }
    plain, beside, top = rows_of(
        source,
        [
            json.dumps(each).encode()
            for each in (record, {**record, "user": {"id": "u", "age": 7}}, {**record, "user_id": "other"})
        ],
    )
    for row in (plain, beside, top):
        assert row["_reason"] is None, row["_error"]
        assert (row["creative_id"], row["user_id"], row["ip"], row["device"]) == ("cr", "u", "1.2.3.4", None)
    assert plain["_rescued"] is None
    assert json.loads(beside["_rescued"]) == {"user": {"id": "u", "age": 7}}
    assert json.loads(top["_rescued"]) == {"user_id": "other"}


def test_a_record_nested_too_deep_is_rejected_not_a_crash() -> None:
    deep = b'{"x": ' * 200_000 + b"1" + b"}" * 200_000
    listed = b'{"site": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert [row["_reason"] for row in rows_of("impressions", [deep, listed])] == ["invalid_json"] * 2


def test_a_bad_record_does_not_touch_its_neighbours() -> None:
    payloads = [impression(user_id=f"u{n}") if n % 3 else b'{"user_id": "bad"' for n in range(100)]
    rows = rows_of("impressions", payloads)
    assert [row["user_id"] for row in rows] == [f"u{n}" if n % 3 else None for n in range(100)]


def test_synthetic_ids_are_equal_for_equal_events_only() -> None:
    same = [impression(), impression(), json.dumps(dict(reversed(MINIMAL.items()))).encode(), impression(url=None)]
    other = [impression(url="x"), impression(user_id="x"), impression(event_ts=MICROS + 1), impression(site="u")]
    ids = [row["event_id"] for row in rows_of("impressions", same + other)]
    assert len(set(ids[:4])) == 1
    assert len(set(ids)) == 5
    assert all(len(each) == 64 for each in ids)


def test_a_synthetic_id_is_the_documented_digest() -> None:
    text = f"impressions\ncreative_id:2:cr\nevent_ts:{len(str(MICROS))}:{MICROS}\nsite:9:a.example\nuser_id:2:é"
    assert one(impression(user_id="é"))["event_id"] == hashlib.sha256(text.encode()).hexdigest()


def test_with_keep_the_same_record_from_two_places_is_two_events(tmp_path: Path) -> None:
    source = with_fields(tmp_path, "impressions", "without_id: keep\n")
    first, second, again = rows_of(source, [impression()] * 3, origins=["t:0:1", "t:0:2", "t:0:1"])
    assert first["event_id"] == again["event_id"] != second["event_id"]


def test_an_id_of_the_producer_stays() -> None:
    row = one(impression(event_id="e-1"))
    assert (row["event_id"], row["_synthetic_id"]) == ("e-1", False)
    assert one(impression(event_id=""))["_synthetic_id"] is True


def test_an_empty_batch_gives_an_empty_table() -> None:
    assert rows_of("impressions", []) == []


def json_test_suite(shared_data: Path) -> dict[str, bytes]:
    texts = {file.name: file.read_bytes() for file in sorted((shared_data / "json_test_suite").glob("[niy]_*.json"))}
    assert Counter(name[0] for name in texts) == {"n": 188, "y": 95, "i": 35}
    return texts


def fitting(name: str, text: bytes, reason: str | None) -> bool:
    """Whether the verdict on a text of the suite is one that the standard allows."""
    if not text:
        return reason == "empty"
    if name.startswith("n_"):
        return reason == "invalid_json"
    fields = {"missing_field", "invalid_type"} if text.lstrip()[:1] == b"{" else {"not_a_record"}
    return reason in fields or (name.startswith("i_") and reason == "invalid_json")


def test_the_json_test_suite_is_judged_as_the_standard_says(shared_data: Path) -> None:
    suite = json_test_suite(shared_data)
    for before in (0, 1, 3):  # good records before each: with more of them than of others the fast way is tried first
        batch = [each for text in suite.values() for each in (*[impression()] * before, text)]
        rows = rows_of("impressions", batch)
        wrong = [
            (name, row["_reason"])
            for (name, text), row in zip(suite.items(), rows[before :: before + 1], strict=True)
            if not fitting(name, text, row["_reason"])
        ]
        assert wrong == []
        good = [row for place, row in enumerate(rows) if place % (before + 1) != before]
        assert [row["user_id"] for row in good] == ["u"] * len(good)


def test_each_text_of_the_json_test_suite_leaves_the_good_record_beside_it(shared_data: Path) -> None:
    for name, text in json_test_suite(shared_data).items():
        odd, good = rows_of("impressions", [text, impression()])
        assert fitting(name, text, odd["_reason"]), name
        assert (good["_reason"], good["user_id"]) == (None, "u"), name


def test_the_json_test_suite_as_lines_of_a_file(shared_data: Path) -> None:
    # A line ends where LF stands; a CR before it, and a mark at the file's beginning, are not part of a record
    suite = {name: text for name, text in json_test_suite(shared_data).items() if not set(b"\r\n") & set(text)}
    assert len(suite) > 280
    lines = [each for text in suite.values() for each in (impression(), text)]
    rows = rows_of_file("a.jsonl", b"\n".join([*lines, impression()]), "impressions")
    assert [row["_reason"] for row in rows[::2]] == [None] * (len(suite) + 1)
    wrong = [
        (name, row["_reason"])
        for (name, text), row in zip(suite.items(), rows[1::2], strict=True)
        if not fitting(name, text, row["_reason"]) or row["_raw"] != text
    ]
    assert wrong == []


PAYLOADS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(alphabet='{}[]",:\\ntrueNaIify0123456789.eE+- \n', max_size=40).map(str.encode),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["site", "url", "event_ts", "viewable", "price_micros", "x"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PAYLOADS, max_size=20))
def test_any_bytes_give_one_row_each_and_validity_is_that_of_the_standard(payloads: list[bytes | None]) -> None:
    for row, payload in zip(rows_of("impressions", payloads), payloads, strict=True):
        if not payload:
            assert row["_reason"] == "empty"
            continue
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            assert row["_reason"] == "invalid_json", payload
        else:
            assert (row["_reason"] == "not_a_record") == (not isinstance(value, dict)), payload
            assert row["_reason"] != "invalid_json", payload


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
RECORDS = st.fixed_dictionaries(
    {
        "creative_id": TEXT.filter(bool),
        "user_id": TEXT.filter(bool),
        "site": TEXT.filter(bool),
        "event_ts": st.integers(MICROS - 10**12, MICROS),
    },
    optional={
        "url": st.none() | TEXT,
        "viewable": st.none() | st.booleans(),
        "price_micros": st.none() | st.integers(0, 2**63 - 1),
        "extra": st.none() | TEXT | st.lists(st.integers(-(2**63), 2**63), max_size=3),
        "price micros": TEXT,
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=12), st.booleans(), st.sampled_from([None, 1]))
def test_valid_records_have_the_values_a_plain_parser_reads(
    records: list[dict[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    payloads = [json.dumps(each, ensure_ascii=ascii_only, indent=indent).encode() for each in records]
    for row, record in zip(rows_of("impressions", payloads), records, strict=True):
        assert row["_reason"] is None, row["_error"]
        for name in ("creative_id", "user_id", "site", "url", "viewable", "price_micros"):
            assert row[name] == record.get(name)
        assert row["event_ts"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=record["event_ts"])
        unknown = {name: record[name] for name in ("extra", "price micros") if name in record}
        assert (json.loads(row["_rescued"]) if row["_rescued"] else {}) == unknown
