"""CSV decoding: RFC 4180 strictly, one record a payload, files split by a column."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from decoding import LIMITS, MICROS, NOW, SOURCES, moments, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode import HeaderUnfit, decode_split, parse_header

FULL = SOURCES["clicks"].headers[1]


def click(**fields: Any) -> bytes:
    """A record with all columns of the topic."""
    values = {"event_ts": MICROS, "user_id": "u", "campaign_id": "ca", "conversion_type": "click", **fields}
    out = io.StringIO()
    csv.writer(out).writerow([values.get(name, "") for name in FULL])
    return out.getvalue().removesuffix("\r\n").encode()


def one(payload: bytes | None) -> dict[str, Any]:
    return rows_of("clicks", [payload])[0]


def test_minimal_records_of_the_case_are_accepted() -> None:
    row = one(f"{MICROS},u,ca,click".encode())
    assert (row["_reason"], row["event_ts"], row["_synthetic_id"]) == (None, NOW, True)
    (row,) = rows_of("conversions", [f"{MICROS},u,ca,purchase".encode()])
    assert (row["_reason"], row["conversion_type"], row["event_date"]) == (None, "purchase", date(2026, 3, 1))


@pytest.mark.parametrize(
    ("payload", "reason", "words"),
    [
        (None, "empty", ""),
        (b"", "empty", ""),
        (b"\r\n", "empty", ""),
        (b"\xff,u,ca,click", "invalid_csv", "UTF-8"),
        (b"1,u,ca", "invalid_csv", "3 columns instead of 4 or 15"),
        (b"1,u,ca,click,x", "invalid_csv", "5 columns"),
        (b'1,"u,ca,click', "invalid_csv", "quote"),
        (b'1,u"x",ca,click', "invalid_csv", "quote"),
        (b'1,"u"x,ca,click', "invalid_csv", "quote"),
        (b'a"b,"c,d,e', "invalid_csv", "quote"),
        (b"1,u\n,ca,click", "invalid_csv", "line end"),
        (b"1,u,ca,click\n\n", "invalid_csv", "line end"),
        (b"1,u\r,ca,click", "invalid_csv", "line end"),
        (click(user_id=""), "missing_field", "user_id"),
        (click(user_id="", price_micros="x"), "missing_field", "user_id"),
        (click(price_micros="12x"), "invalid_type", "price_micros: '12x'"),
        (click(price_micros=" 12"), "invalid_type", "price_micros"),
        (click(event_ts=MICROS + 3 * 86_400_000_000), "event_time_out_of_range", "1 d after"),
        (click(conversion_type="purchase"), "unknown_type", "conversion_type: 'purchase' is none of click"),
    ],
)
def test_each_fault_has_its_reason(payload: bytes | None, reason: str, words: str) -> None:
    row = one(payload)
    assert row["_reason"] == reason, row
    assert words in row["_error"]


def test_quotes_line_ends_and_crlf_are_read_as_rfc_4180_says() -> None:
    row = one(click(url='a "quoted"\r\nline, two', user_agent="ünïcode") + b"\r\n")
    assert row["_reason"] is None, row["_error"]
    assert (row["url"], row["user_agent"]) == ('a "quoted"\r\nline, two', "ünïcode")


def test_an_empty_field_is_no_value_quoted_or_not() -> None:
    row = one(f'"{MICROS}","u",ca,click,"",,"","",,"",,,,,'.encode())
    assert row["_reason"] is None, row["_error"]
    assert row["_synthetic_id"]
    assert (row["creative_id"], row["url"], row["impression_id"]) == (None, None, None)


def test_a_broken_record_does_not_swallow_its_neighbours() -> None:
    broken = [b'1,"u', b'a"b,"c', b'"', b"x\ny", b"0,1,2,3"]
    payloads = [click(user_id=f"u{n}") if n % 6 else broken[n // 6 % len(broken)] for n in range(120)]
    rows = rows_of("clicks", payloads)
    assert [row["user_id"] for row in rows] == [f"u{n}" if n % 6 else None for n in range(120)]


def test_columns_without_a_field_are_rescued_where_they_have_a_value() -> None:
    header = ["event_ts", "user_id", "campaign_id", "conversion_type", "it's", "note"]
    with_note, without = rows_of(
        "clicks", [f'{MICROS},u,ca,click,1,"a ""b"""'.encode(), f"{MICROS},u,ca,click,,".encode()], header=header
    )
    assert json.loads(with_note["_rescued"]) == {"it's": "1", "note": 'a "b"'}
    assert without["_rescued"] is None


def test_dimensions_have_their_types_and_the_day_they_came() -> None:
    (rate,) = rows_of("fx_rates", [b"2026-03-01,EUR,1.085"])
    assert (rate["rate_date"], rate["usd_per_unit"]) == (date(2026, 3, 1), Decimal("1.085000000"))
    assert (rate["event_date"], rate["_synthetic_id"]) == (date(2026, 3, 1), False)
    (fine,) = rows_of("fx_rates", [b"2026-03-01,EUR,1.1234567891"])
    assert fine["_reason"] == "invalid_type"
    assert "9 digits" in fine["_error"]
    (campaign,) = rows_of("campaigns", [b"ca,ad,Name,30,1,every,5000000,2026-01-01,2026-12-31,2026-01-01,"])
    assert campaign["_reason"] is None, campaign["_error"]
    assert (campaign["click_window_days"], campaign["flight_end"]) == (30, date(2026, 12, 31))
    assert campaign["valid_from"] == datetime(2026, 1, 1, tzinfo=UTC)
    (wide,) = rows_of("campaigns", [b"ca,ad,Name,3000000000,1,every,,,,,"])
    assert wide["_reason"] == "invalid_type"


def test_each_record_of_a_mixed_file_belongs_to_one_source() -> None:
    header = ["conversion_type", "event_ts", "user_id", "campaign_id", "order_id"]
    kinds = ["click", "purchase", "banana", "", "lead", "click"]
    payloads = [f"{kind},{MICROS},u{n},ca,o".encode() for n, kind in enumerate(kinds)] + [b"a,b", b'"', b""]
    parts = decode_split(
        [SOURCES["clicks"], SOURCES["conversions"]],
        pa.array(payloads, pa.binary()),
        moments(len(payloads)),
        limits=LIMITS,
        header=header,
    )
    clicks, conversions = parts["clicks"], parts["conversions"]
    assert conversions[0].to_pylist() == [1, 4]
    assert conversions[1]["_reason"].to_pylist() == [None, None]
    assert conversions[1]["order_id"].to_pylist() == ["o", "o"]
    assert clicks[0].to_pylist() == [0, 2, 3, 5, 6, 7, 8]
    assert clicks[1]["_reason"].to_pylist() == [
        None, "unknown_type", "missing_field", None, "invalid_csv", "invalid_csv", "empty",
    ]  # fmt: skip
    assert json.loads(clicks[1]["_rescued"][0].as_py()) == {"order_id": "o"}


def test_a_header_is_read_like_any_record() -> None:
    assert parse_header(b'a,"b ""c""",\xc3\xa9\r\n') == ("a", 'b "c"', "é")
    with pytest.raises(HeaderUnfit, match="twice"):
        parse_header(b"a,b,a")
    for broken in (b'"a', b"", b"\xff"):
        with pytest.raises(HeaderUnfit):
            parse_header(broken)


PAYLOADS = st.one_of(
    st.none(),
    st.binary(max_size=30),
    st.text(alphabet='",\r\nab1', max_size=20).map(str.encode),
    st.lists(st.text(alphabet='",\r\nab1é', max_size=5), min_size=1, max_size=6).map(
        lambda fields: ",".join('"' + each.replace('"', '""') + '"' for each in fields).encode()
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PAYLOADS, max_size=15))
def test_any_bytes_give_one_row_each(payloads: list[bytes | None]) -> None:
    rows_of("clicks", payloads)


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text(alphabet='",\r\n', max_size=4)
RECORDS = st.fixed_dictionaries(
    {"user_id": CELL.filter(bool), "campaign_id": CELL.filter(bool), "event_ts": st.integers(MICROS - 10**12, MICROS)},
    optional={"url": CELL, "price_micros": st.integers(0, 2**63 - 1), "consent": CELL},
)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=12))
def test_valid_records_have_the_values_a_plain_parser_reads(records: list[dict[str, Any]]) -> None:
    payloads = [click(**each) for each in records]
    for row, payload, record in zip(rows_of("clicks", payloads), payloads, records, strict=True):
        assert row["_reason"] is None, row["_error"]
        (plain,) = csv.reader(io.StringIO(payload.decode(), newline=""))
        for name, cell in zip(FULL, plain, strict=True):
            if name in ("user_id", "campaign_id", "url", "consent"):
                assert row[name] == (cell or None)
        assert row["price_micros"] == record.get("price_micros")
        assert row["event_ts"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=record["event_ts"])
