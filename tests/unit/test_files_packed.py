"""Files packed with gzip or Zstandard: all of their parts are read, and what is cut or damaged is told."""

import gzip
import io
import struct
from collections.abc import Callable

import pyarrow as pa
import pytest
from decoding import MICROS, rows_of_file

from ad_lakehouse.files.packed import unpacked
from ad_lakehouse.files.reading import FileBroken, check_whole


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


def lines(*users: str) -> bytes:
    text = '{{"creative_id":"c","user_id":"{}","event_ts":{},"site":"s"}}\n'
    return "".join(text.format(user, MICROS) for user in users).encode()


def users(name: str, content: bytes) -> list[str]:
    return [row["user_id"] for row in rows_of_file(name, content, "impressions")]


SKIPPABLE = struct.pack("<II", 0x184D2A50, 5) + b"notes"  # RFC 8878, 3.1.2: a frame of the user's own data
PACK = pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstd)])


@PACK
def test_files_packed_behind_each_other_are_one(ending: str, pack: Callable[[bytes], bytes]) -> None:
    content = pack(lines("a", "b")[:-7]) + pack(lines("a", "b")[-7:] + lines("c")) + pack(b"")
    assert users(f"a.jsonl.{ending}", content) == ["a", "b", "c"]
    assert users(f"a.jsonl.{ending}", b"") == []


def test_frames_to_be_skipped_are_skipped() -> None:
    content = SKIPPABLE + zstd(lines("a")) + SKIPPABLE + zstd(lines("b")) + SKIPPABLE
    assert users("a.jsonl.zst", content) == ["a", "b"]


@PACK
def test_a_file_that_is_cut_anywhere_is_broken(ending: str, pack: Callable[[bytes], bytes]) -> None:
    first, second = pack(lines("a", "b")), pack(lines(*"cdefgh"))
    for cut in range(1, len(first + second)):
        if cut == len(first):
            continue  # a whole file by itself
        with pytest.raises(FileBroken, match=r"a\.jsonl"):
            check_whole(io.BytesIO((first + second)[:cut]), f"a.jsonl.{ending}")


@PACK
@pytest.mark.parametrize("size", [1_000, 1 << 20])
def test_a_large_file_that_is_cut_is_broken_whatever_is_read_at_once(
    ending: str, pack: Callable[[bytes], bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ad_lakehouse.files.reading.BLOCK", size)
    content = pack(lines(*map(str, range(3_000))))
    for cut in (len(content) - 1, len(content) - 5, len(content) // 2, 20):
        with pytest.raises(FileBroken):
            check_whole(io.BytesIO(content[:cut]), f"a.jsonl.{ending}")
    check_whole(io.BytesIO(content), f"a.jsonl.{ending}")


@PACK
@pytest.mark.parametrize("behind", [b"x", b"notes\n" * 100, b"{}\n"])
def test_what_stands_behind_the_packed_content_is_not_ignored(
    ending: str, pack: Callable[[bytes], bytes], behind: bytes
) -> None:
    with pytest.raises(FileBroken):
        users(f"a.jsonl.{ending}", pack(lines("a")) + behind)


def test_zeros_behind_a_gzip_file_are_padding() -> None:
    assert users("a.jsonl.gz", gzip.compress(lines("a")) + bytes(512)) == ["a"]  # as gzip(1) takes them


@PACK
def test_a_file_that_is_not_packed_as_its_name_says_is_broken(ending: str, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FileBroken, match="again"):
        users(f"a.jsonl.{ending}", lines("a"))


@pytest.mark.parametrize(("log", "read"), [(20, True), (27, True), (28, False), (31, False)])
def test_a_window_of_more_than_128_mib_is_refused(log: int, read: bool) -> None:
    text = lines("a")
    block = struct.pack("<I", len(text) << 3 | 1)[:3] + text  # the last block, as it is
    frame = struct.pack("<I", 0xFD2FB528) + bytes([0, log - 10 << 3]) + block
    if read:
        assert users("a.jsonl.zst", frame) == ["a"]
    else:
        with pytest.raises(FileBroken, match="memory"):
            users("a.jsonl.zst", frame)


def test_an_error_of_the_disk_is_not_taken_for_a_broken_file() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error") as raised:
        unpacked(Failing(), "a.jsonl.zst").read(10)
    assert raised.value.errno == 5


@PACK
def test_the_stream_stays_open_for_the_next_reading(ending: str, pack: Callable[[bytes], bytes]) -> None:
    stream = io.BytesIO(pack(lines("a")))
    for _ in range(2):
        check_whole(stream, f"a.jsonl.{ending}")
    assert not stream.closed
