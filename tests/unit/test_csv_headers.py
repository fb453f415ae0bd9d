"""CSV records of a topic whose message says what their columns are.

Belongs here: decoding such a batch. Not here: the CSV grammar (test_decode_csv.py), routing (tests/integration).
"""

from collections.abc import Sequence

import pyarrow as pa
from decoding import LIMITS, SOURCES, moments, rows_of

from kafka_sinks.batch import HEADERS
from kafka_sinks.csv_headers import CSV_HEADER, MOST_HEADERS, decode_with_headers

Told = Sequence[tuple[bytes, bytes | None]]
TIME = b"2026-03-01T11:00:00Z"


def decoded(records: Told, *more: tuple[str, bytes]) -> list[dict[str, object]]:
    """Clicks; each record with the header line it brings."""
    headers = [None if line is None else [("file", b"a.csv"), (CSV_HEADER, line), *more] for _, line in records]
    table = decode_with_headers(
        SOURCES["clicks"],
        pa.array([payload for payload, _ in records], pa.binary()),
        moments(len(records)),
        pa.array(headers, HEADERS),
        limits=LIMITS,
    )
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def test_each_record_is_read_by_the_header_it_brings_and_in_its_place() -> None:
    line, other = (
        b"user_id,event_ts,campaign_id,conversion_type",
        b"conversion_type,partner,event_ts,user_id,campaign_id",
    )
    rows = decoded(
        [
            (b"u0," + TIME + b",c0,click", line),
            (TIME + b",u1,c1,click", None),
            (b"click,p2," + TIME + b",u2,c2", other),
            (b"u3," + TIME + b",c3,click", line),
        ]
    )
    assert [(row["user_id"], row["campaign_id"], row["_rescued"]) for row in rows] == [
        ("u0", "c0", None),
        ("u1", "c1", None),
        ("u2", "c2", '{"partner":"p2"}'),
        ("u3", "c3", None),
    ]


def test_a_record_of_too_few_columns_is_not_taken_for_a_shorter_form() -> None:
    (row,) = decoded([(TIME + b",u1,c1,click", b"event_ts,user_id,campaign_id,conversion_type,url")])
    assert (row["_reason"], row["_error"]) == ("invalid_csv", "4 columns instead of 5")


def test_a_header_that_is_none_rejects_its_own_records_only() -> None:
    good = TIME + b",u1,c1,click"
    rows = decoded([(good, b'a,"b'), (good, None), (good, b"a,a"), (good, b""), (good, b"\xff")])
    assert [row["_reason"] for row in rows] == ["invalid_csv", None, "invalid_csv", "invalid_csv", "invalid_csv"]
    assert [row["_raw"] for row in rows] == [good, None, good, good, good]
    assert str(rows[2]["_error"]).startswith("csv.header: The header has column 'a' twice")


def test_of_more_headers_than_a_batch_may_have_the_rest_is_rejected() -> None:
    lines = [b"event_ts,user_id,campaign_id,conversion_type,x%d" % number for number in range(MOST_HEADERS + 3)]
    rows = decoded([(TIME + b",u1,c1,click,", line) for line in lines])
    assert [row["_reason"] for row in rows] == [None] * MOST_HEADERS + ["invalid_csv"] * 3


def test_a_second_header_line_and_one_without_value_harm_nothing() -> None:
    line = b"event_ts,user_id,campaign_id,conversion_type"
    assert [row["_reason"] for row in decoded([(TIME + b",u1,c1,click", line)], (CSV_HEADER, b"other"))] == [None]
    headers = pa.array([[(CSV_HEADER, None)], [], None], HEADERS)
    payloads = pa.array([TIME + b",u1,c1,click"] * 3, pa.binary())
    table = decode_with_headers(SOURCES["clicks"], payloads, moments(3), headers, limits=LIMITS)
    assert table["_reason"].to_pylist() == ["invalid_csv", None, None]


def test_without_any_header_line_the_source_states_the_columns() -> None:
    headers = pa.array([[("trace", b"1")], None], HEADERS)
    payload = TIME + b",u1,c1,click"
    table = decode_with_headers(SOURCES["clicks"], pa.array([payload] * 2), moments(2), headers, limits=LIMITS)
    assert table.to_pylist() == rows_of("clicks", [payload] * 2)
