"""Where records of a text file end: any block size, any line ends, quoted line ends, stray quotes, huge records."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ad_lakehouse.files import records
from ad_lakehouse.files.progress import Progress
from ad_lakehouse.files.records import first_record, text_records

VALUE = st.lists(st.sampled_from(["a", "é", '"', ",", "\n", "\r\n", " "]), max_size=5).map("".join)
ROWS = st.lists(st.lists(VALUE, min_size=2, max_size=3), max_size=8)


class Blocks(io.BytesIO):
    """A stream that gives at most so many bytes a read, as a socket or gzip may."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size)


def cut(text: bytes, *, quoted: bool, block: int = 1 << 20, max_rows: int = 3, skip: int = 0) -> list[bytes]:
    stream = Blocks(text, block)
    batches = list(text_records(stream, max_rows=max_rows, max_bytes=1 << 20, quoted=quoted, skip=skip))
    assert [batch.last for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert [batch.first for batch in batches] == [
        sum(len(b.payloads) for b in batches[:i]) for i in range(len(batches))
    ]
    assert all(len(batch.payloads) <= max_rows for batch in batches)
    return [payload for batch in batches for payload in batch.payloads.to_pylist()]


@given(
    st.lists(st.lists(VALUE, min_size=2, max_size=3), max_size=8), st.sampled_from(["\n", "\r\n"]), st.integers(1, 40)
)
def test_csv_records_come_back_as_they_were_written(rows: list[list[str]], end: str, block: int) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    found = cut(text.getvalue().encode(), quoted=True, block=block)
    assert [next(csv.reader(io.StringIO(record.decode(), newline=""))) for record in found] == rows


@given(st.binary(max_size=60).filter(lambda text: not text.startswith(b"\xef\xbb\xbf")), st.integers(1, 20))
def test_lines_come_back_as_they_were_written(text: bytes, block: int) -> None:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert cut(text, quoted=False, block=block) == [line.removesuffix(b"\r") for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b'1,st"ray\n2,b\n', [b'1,st"ray', b"2,b"], id="a quote inside a value"),
        pytest.param(b'1,"cut\n2,b\n3,"c",d\n', [b'1,"cut', b"2,b", b'3,"c",d'], id="a quote that never closes"),
        pytest.param(b'1,"cut', [b'1,"cut'], id="the file ends inside quotes"),
        pytest.param(b'1,"a\n\n""b""\n",x\n2,y\n', [b'1,"a\n\n""b""\n",x', b"2,y"], id="blank lines inside quotes"),
    ],
)
def test_a_stray_quote_costs_its_own_record(text: bytes, expected: list[bytes]) -> None:
    assert cut(text, quoted=True) == expected


def test_a_byte_order_mark_and_the_header_are_no_data() -> None:
    text = b'\xef\xbb\xbf"a\nb",c\r\n1,2\r\n'
    assert first_record(io.BytesIO(text)) == b'"a\nb",c'
    assert cut(text, quoted=True, skip=1) == [b"1,2"]


def test_a_huge_record_is_given_in_part_and_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_RECORD", 100)
    found = cut(b"a\n" + b"x" * 1_000 + b"\nb\n" + b"y" * 150 + b"\nc", quoted=False, block=16)
    assert [record[:1] for record in found] == [b"a", b"x", b"b", b"y", b"c"]
    assert max(map(len, found)) <= 100 + 2 * 16


@given(st.integers(0, 10**9), st.booleans())
def test_progress_is_read_back_as_written_and_grows(rows: int, done: bool) -> None:
    assert Progress.of(Progress(rows, done).version) == Progress(rows, done)
    assert Progress(rows, True).version > Progress(rows, False).version
    assert Progress(rows + 1, False).version > Progress(rows, True).version
