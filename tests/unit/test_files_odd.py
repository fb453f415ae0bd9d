"""Odd text files: encodings, line ends, headers. Each is accepted, rejected row by row, or broken with what to do.

Belongs here: what a person's tools write by mistake. Not here: damage (test_decode_damage.py), packed files
(test_files_packed.py), where records end (test_files_records.py).
"""

import json
import time
from typing import Any

import pytest
from decoding import MICROS, rows_of_file

from ad_lakehouse.files.reading import FileBroken
from ad_lakehouse.files.records import LONGEST_RECORD
from kafka_sinks.decode import HeaderUnfit
from kafka_sinks.decode.csv_records import MOST_COLUMNS

COLUMNS = "event_ts,user_id,campaign_id,conversion_type"
IMPRESSION = {"creative_id": "c", "user_id": "u", "event_ts": MICROS, "site": "s"}


def csv(*lines: str, header: str = COLUMNS, end: str = "\n") -> str:
    return end.join([header, *lines]) + end


def click(user: str, more: str = "") -> str:
    return f"{MICROS},{user},c,click{more}"


def users(text: str | bytes, name: str = "a.csv", source: str = "clicks") -> list[tuple[str | None, str | None]]:
    """User and reason of each row."""
    content = text.encode() if isinstance(text, str) else text
    return [(row["user_id"], row["_reason"]) for row in rows_of_file(name, content, source)]


BOTH = [("a", None), ("b", None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("\ufeff" + csv(click("a"), click("b")), BOTH, id="a byte order mark"),
        pytest.param(csv(click("a"), click("b"), end="\r\n"), BOTH, id="CRLF"),
        pytest.param(f"{COLUMNS}\r\n{click('a')}\n{click('b')}\r\n", BOTH, id="CRLF and LF"),
        pytest.param(csv(click("a"), click("b")).rstrip(), BOTH, id="no line end at the end"),
        pytest.param(csv("", click("a"), "", click("b"), ""), BOTH, id="blank lines"),
        pytest.param(csv(click("a"), click("b") + "\r" + click("c"), end="\n"), [BOTH[0], (None, "invalid_csv")],
                     id="a CR within a record"),
        pytest.param(csv(click('"a\r\n\rb"')), [("a\r\n\rb", None)], id="line ends within quotes"),
        pytest.param(csv(click("a\0b"), click("b")), [("a\0b", None), BOTH[1]], id="a NUL in a value"),
        pytest.param(csv(click("a"), " " + click("b")), [BOTH[0], (None, "invalid_type")], id="a blank before a value"),
        pytest.param(csv(click("a", ","), click("b")), [(None, "invalid_csv"), BOTH[1]], id="a column too many"),
        pytest.param(csv(click("a,b")), [(None, "invalid_csv")], id="a comma that is not quoted"),
        pytest.param(csv(click("a", ",7"), header=COLUMNS + ","), [BOTH[0]], id="a column without a name"),
        pytest.param(csv(click("a"), header=f'"{COLUMNS.replace(",", chr(34) + "," + chr(34))}"'), [BOTH[0]],
                     id="a quoted header"),
        pytest.param(csv(click("a"), header=COLUMNS.replace(",", ", ")), [(None, "missing_field")],
                     id="a header with blanks"),
        pytest.param(csv(click("a"), header=COLUMNS.upper()), [(None, "missing_field")], id="a header in capitals"),
        pytest.param(csv(click("a").replace(",", ";"), header=COLUMNS.replace(",", ";")), [(None, "missing_field")],
                     id="semicolons"),
        pytest.param(csv(click("a").replace(",", ";") + ",x", header=COLUMNS), [(None, "invalid_csv")],
                     id="semicolons below a header with commas"),
        pytest.param("", [], id="empty"),
        pytest.param("\ufeff", [], id="a byte order mark alone"),
        pytest.param(csv(), [], id="a header alone"),
        pytest.param(COLUMNS, [], id="a header alone without line end"),
        pytest.param("\n\n\n", [], id="blank lines alone"),
    ],
)  # fmt: skip
def test_an_odd_csv_file_is_read_row_by_row(text: str, expected: list[Any]) -> None:
    assert users(text) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_value_in_another_encoding_costs_its_record(encoding: str) -> None:
    content = csv(click("a"), click("ü"), click("b")).encode(encoding)
    assert users(content) == [BOTH[0], (None, "invalid_csv"), BOTH[1]]


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        pytest.param(csv(click("a"), end="\r").encode(), "ends in CR alone", "LF or CRLF", id="CR alone"),
        pytest.param(csv(click("a"), header="zürich").encode("latin-1"), "not UTF-8", "as UTF-8", id="latin-1"),
        pytest.param(csv(click("a")).encode("utf-16-le"), "not UTF-8", "as UTF-8", id="UTF-16 without a mark"),
        pytest.param(csv(click("a"), header=COLUMNS + ",user_id").encode(), "'user_id' twice", "once", id="doubled"),
        pytest.param(csv(click("a"), header=COLUMNS + ",,").encode(), "'' twice", "once", id="two without a name"),
        pytest.param(csv(header=COLUMNS + ",user_id").encode(), "'user_id' twice", "once", id="doubled, no rows"),
        pytest.param(csv(click("a"), header=f'{COLUMNS},"x').encode(), "quote is misplaced", "commas", id="quote"),
        pytest.param(csv(header=",".join(map(str, range(MOST_COLUMNS + 1)))).encode(), f"{MOST_COLUMNS + 1} columns",
                     f"at most {MOST_COLUMNS}", id="wide"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_read_says_what_to_do(content: bytes, problem: str, remedy: str) -> None:
    with pytest.raises(HeaderUnfit, match=problem) as raised:
        users(content)
    assert remedy in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_utf_16_is_broken_as_a_whole(encoding: str, name: str) -> None:
    text = csv(click("a")) if name == "a.csv" else json.dumps(IMPRESSION) + "\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = (mark + text).encode(encoding)
    with pytest.raises(FileBroken, match="Save it as UTF-8"):
        users(content, name, "clicks" if name == "a.csv" else "impressions")


def test_as_many_columns_as_a_header_may_have_are_read_in_time() -> None:
    header = COLUMNS + "".join(f",c{n}" for n in range(MOST_COLUMNS - 4))
    text = csv(click("a", ",x" * (MOST_COLUMNS - 4)), click("b", "," * (MOST_COLUMNS - 4)), header=header)
    begun = time.monotonic()
    first, second = rows_of_file("a.csv", text.encode(), "clicks")
    assert (first["_reason"], second["_reason"], second["_rescued"]) == (None, None, None)
    assert len(json.loads(first["_rescued"])) == MOST_COLUMNS - 4
    assert time.monotonic() - begun < 20


def test_a_header_of_100_000_columns_is_refused_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(HeaderUnfit, match="100000 columns"):
        users(csv(click("a"), header=",".join(f"c{n}" for n in range(100_000))))
    assert time.monotonic() - begun < 5


GOOD = json.dumps(IMPRESSION)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), [None], id="a byte order mark"),
        pytest.param(f"{GOOD}\r\n{GOOD}\n{GOOD}".encode(), [None] * 3, id="CRLF, LF, none"),
        pytest.param(f"{GOOD}\r{GOOD}\n{GOOD}\n".encode(), ["invalid_json", None], id="CR alone"),
        pytest.param(f"{GOOD}\n\n{GOOD}\n".encode(), [None, "empty", None], id="a blank line"),
        pytest.param(GOOD.encode() + b"\n\xe9\n" + GOOD.encode(), [None, "invalid_json", None], id="latin-1"),
        pytest.param(GOOD.encode() + b"\0\n" + GOOD.encode(), ["invalid_json", None], id="a NUL behind a record"),
        pytest.param(json.dumps(IMPRESSION, indent=1).encode(), ["invalid_json"] * 6, id="a record over several lines"),
        pytest.param(f"[{GOOD}]".encode(), ["not_a_record"], id="a list of records"),
        pytest.param(GOOD.encode("utf-16-le"), ["invalid_json"], id="UTF-16 without a mark"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_an_odd_json_lines_file_is_read_row_by_row(content: bytes, expected: list[str | None]) -> None:
    assert [row["_reason"] for row in rows_of_file("a.jsonl", content, "impressions")] == expected


@pytest.mark.parametrize("length", [LONGEST_RECORD, LONGEST_RECORD + 1, LONGEST_RECORD + (10 << 20)])
def test_of_a_record_that_is_too_long_the_beginning_is_kept_and_nothing_accepted(length: int) -> None:
    before = click("a", ",")
    long = before + "x" * (length - len(before))  # what is left of it when it is cut is a record, too
    text = csv(click("b", ","), long, click("c", ","), header=COLUMNS + ",url")
    first, row, last = rows_of_file("a.csv", text.encode(), "clicks")
    assert (first["user_id"], last["user_id"]) == ("b", "c")
    if length <= LONGEST_RECORD:
        assert (row["_reason"], len(row["url"])) == (None, length - len(before))
    else:
        assert (row["_reason"], row["user_id"], row["url"], row["event_date"]) == ("too_large", None, None, None)
        assert long.encode().startswith(row["_raw"])
        assert len(row["_raw"]) > LONGEST_RECORD
