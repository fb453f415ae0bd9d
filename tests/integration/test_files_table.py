"""The table of files: each file of the drop folder stands in it with what became of it and why.

Belongs here: `ops.files`, folders of an object store, what is not read again. Not here: the rows of a file
(test_files_landing.py), how bytes are decoded (tests/unit).
"""

import gzip
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from landing_topics import IMPRESSIONS, impression, notes, rows

import ad_lakehouse.files.content
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files.drop import DropFolder, ListedOnce, LocalFolder, StorePrefix
from ad_lakehouse.files.files_table import FILES, FileRow, FilesTable, read_rows
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.report import FileReport
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.sources import load_sources

HEADER = "event_ts,user_id,campaign_id,conversion_type\n"
LONG_AGO = time.time() - 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop = tmp_path / "drop"
    drop.mkdir()
    return drop


def land(
    lake: Lake, folder: str | Path | DropFolder, settle_seconds: float = 0.0, **landing: Any
) -> dict[str, FileReport]:
    settings = Settings(landing=LandingSettings(**landing))
    reports = land_files(lake, load_sources(), folder, settings, settle_seconds=settle_seconds)
    return {report.path: report for report in reports}


def lines(*numbers: int) -> bytes:
    return b"".join(impression(number) + b"\n" for number in numbers)


def known(lake: Lake) -> dict[str, FileRow]:
    states = ("landed", "duplicate", "being_written", "changed", "broken", "unclaimed")
    return {row.path: row for row in read_rows(lake, "state", states)}


def told(lake: Lake) -> dict[str, tuple[str, int, int | None]]:
    return {path: (row.state, row.rows, row.rejected) for path, row in known(lake).items()}


def test_every_file_stands_in_the_table_with_state_rows_and_reason(lake: Lake, folder: Path) -> None:
    click = f"{datetime.now(UTC).isoformat()},u1,c1,click\n"
    contents = {
        "good.jsonl": lines(1, 2, 3),
        "half_corrupt.jsonl": lines(4) + b'{"event_ts": \xff\xfe\n' + lines(5),
        "empty.jsonl": b"",
        "cut.jsonl.gz": gzip.compress(lines(*range(5_000)))[:-20],
        "no_container.avro": b"Obj\x01nonsense",
        "nobody.xyz": b"?",
        "wrong_encoding.csv": (HEADER + click).encode("utf-16"),
        "latin.csv": (HEADER + click.replace("u1", "übel")).encode("latin-1"),
        "bom.csv": b"\xef\xbb\xbf" + (HEADER + click).encode(),
        "mixed_ends.csv": (HEADER + click.replace("\n", "\r\n") + click).encode(),
        "quoted.csv": (HEADER + click.replace("u1", '"u\n1"')).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    (folder / "young.jsonl").write_bytes(lines(6))
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    reports = land(lake, folder, settle_seconds=60)
    found = known(lake)
    assert told(lake) == {
        "good.jsonl": ("landed", 3, 0),
        "half_corrupt.jsonl": ("landed", 3, 1),
        "empty.jsonl": ("landed", 0, 0),
        "cut.jsonl.gz": ("broken", 0, 0),
        "no_container.avro": ("broken", 0, 0),
        "nobody.xyz": ("unclaimed", 0, 0),
        "wrong_encoding.csv": ("broken", 0, 0),
        "latin.csv": ("landed", 1, 1),
        "bom.csv": ("landed", 1, 0),
        "mixed_ends.csv": ("landed", 2, 0),
        "quoted.csv": ("landed", 1, 0),
        "young.jsonl": ("being_written", 0, 0),
        "gone.jsonl": ("broken", 0, 0),
    }
    assert all(found[name].reason == reports[name].error for name in found)
    assert all(found[name].reason for name in found if found[name].state in ("broken", "unclaimed"))
    assert found["bom.csv"].tables == "bronze.clicks, bronze.conversions"
    assert found["good.jsonl"].size == len(contents["good.jsonl"])
    version = lake.open(FILES).version()
    land(lake, folder, settle_seconds=60)
    assert lake.open(FILES).version() == version, "nothing is new of any file"


def test_renamed_copied_and_rewritten_files_are_told_apart(lake: Lake, folder: Path) -> None:
    content = lines(1, 2)
    (folder / "a.jsonl").write_bytes(content)
    land(lake, folder)
    (folder / "copy.jsonl").write_bytes(content)
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    land(lake, folder)
    assert told(lake) == {
        "a.jsonl": ("landed", 2, 0),
        "b.jsonl": ("duplicate", 0, 0),
        "copy.jsonl": ("duplicate", 0, 0),
    }
    assert known(lake)["copy.jsonl"].reason == "the same content landed as a.jsonl"
    (folder / "a.jsonl").write_bytes(lines(3, 4, 5))
    land(lake, folder)
    assert told(lake)["a.jsonl"] == ("landed", 3, 0)
    assert rows(lake, "count(*)") == [(5,)]


def test_a_broken_file_that_is_mended_becomes_landed(lake: Lake, folder: Path) -> None:
    whole = gzip.compress(lines(*range(100)))
    (folder / "a.jsonl.gz").write_bytes(whole[:-9])
    land(lake, folder)
    before = known(lake)["a.jsonl.gz"]
    (folder / "a.jsonl.gz").write_bytes(whole)
    land(lake, folder)
    after = known(lake)["a.jsonl.gz"]
    assert (before.state, after.state, after.rows, after.reason) == ("broken", "landed", 100, "")
    assert after.seen_date == before.seen_date


def test_a_file_that_is_written_to_while_it_is_read_is_told_and_goes_on(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.jsonl").write_bytes(lines(*range(30)))
    read_parts = ad_lakehouse.files.content.read_parts

    def written_to(*how: Any) -> Any:
        for number, parts in enumerate(read_parts(*how)):
            if number == 1:
                with (folder / "a.jsonl").open("ab") as stream:
                    stream.write(lines(30))
            yield parts

    monkeypatch.setattr(ad_lakehouse.files.content, "read_parts", written_to)
    land(lake, folder, max_batch_rows=10)
    assert told(lake) == {"a.jsonl": ("changed", 10, 0)}
    assert "written to meanwhile" in known(lake)["a.jsonl"].reason


@pytest.fixture
def put_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, bytes], Path]:
    """Once the folder is listed, another file takes the place of one; gives where that one is then."""

    def put(path: Path, content: bytes) -> Path:
        opened, aside = LocalFolder.open, path.parent.parent / "aside"

        def replaced(*how: Any) -> Any:
            monkeypatch.undo()
            path.rename(aside)
            path.write_bytes(content)
            return opened(*how)

        monkeypatch.setattr(LocalFolder, "open", replaced)
        return aside

    return put


def test_a_broken_file_that_is_mended_after_the_folder_was_listed_lands_once(
    lake: Lake, folder: Path, put_before_it_is_opened
) -> None:
    whole = gzip.compress(lines(*range(30)))
    (folder / "a.jsonl.gz").write_bytes(whole[:-9])
    land(lake, folder)
    put_before_it_is_opened(folder / "a.jsonl.gz", whole)
    assert land(lake, folder)["a.jsonl.gz"].outcome == "landed"
    (folder / "copy.jsonl.gz").write_bytes(whole)
    assert land(lake, folder)["copy.jsonl.gz"].outcome == "already landed"
    assert rows(lake, "count(*)") == [(30,)]
    assert {name: state for name, (state, *_) in told(lake).items()} == {
        "a.jsonl.gz": "landed",
        "copy.jsonl.gz": "duplicate",
    }


def test_a_file_that_was_listed_and_put_aside_lands_when_it_comes_back(
    lake: Lake, folder: Path, put_before_it_is_opened
) -> None:
    (folder / "a.jsonl").write_bytes(lines(1))
    aside = put_before_it_is_opened(folder / "a.jsonl", lines(2, 3))
    assert land(lake, folder)["a.jsonl"].rows == 2
    aside.rename(folder / "a.jsonl")
    assert land(lake, folder)["a.jsonl"].rows == 1
    assert rows(lake, "user_id") == [("u1",), ("u2",), ("u3",)]


def test_a_file_that_is_replaced_after_the_folder_was_listed_waits_as_young_ones_do(
    lake: Lake, folder: Path, put_before_it_is_opened
) -> None:
    (folder / "a.jsonl").write_bytes(lines(1))
    os.utime(folder / "a.jsonl", (LONG_AGO, LONG_AGO))
    put_before_it_is_opened(folder / "a.jsonl", lines(2)[:20])
    assert land(lake, folder, settle_seconds=60)["a.jsonl"].outcome == "still being written"
    assert told(lake) == {"a.jsonl": ("being_written", 0, 0)}


def test_a_file_that_changes_after_the_listing_that_landings_share_lands_as_it_is_when_it_is_opened(
    lake: Lake, folder: Path
) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (folder / name).write_bytes(lines(1))
    shared = ListedOnce(LocalFolder(folder))
    assert land_files(lake, load_sources(), shared, Settings(), only=["clicks"]) == []
    (folder / "a.jsonl").write_bytes(lines(2, 3))
    (folder / "b.jsonl").unlink()
    (folder / "d.jsonl").write_bytes(lines(4))
    found = land(lake, shared)
    assert {name: (each.outcome, each.rows) for name, each in found.items()} == {
        "a.jsonl": ("landed", 2), "b.jsonl": ("broken", 0), "c.jsonl": ("landed", 1),
    }  # fmt: skip
    assert land(lake, folder)["d.jsonl"].outcome == "landed"
    assert rows(lake, "user_id") == [("u1",), ("u2",), ("u3",), ("u4",)]


def test_what_is_known_is_not_read_again_but_the_tables_decide(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.jsonl").write_bytes(lines(1))
    land(lake, folder)
    opened = count_opened(monkeypatch)
    assert land(lake, folder)["a.jsonl"].outcome == "already landed"
    assert opened() == 0
    Path(lake.uri(IMPRESSIONS)).rename(folder.parent / "lost")
    assert land(lake, folder)["a.jsonl"].outcome == "landed"
    assert rows(lake, "count(*)") == [(1,)]
    assert told(lake) == {"a.jsonl": ("landed", 1, 0)}


def test_a_row_that_was_not_written_after_the_last_commit_is_written_next_time(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines(1, 2))
    land(lake, folder)
    Path(lake.uri(FILES)).rename(folder.parent / "lost")
    assert land(lake, folder)["a.jsonl"].outcome == "already landed"
    assert told(lake) == {"a.jsonl": ("landed", 2, None)}


def test_runs_at_once_write_one_row_a_file(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.jsonl").write_bytes(lines(1))
    merge, calls = ad_lakehouse.files.files_table.merge, []

    def overtaken(*how: Any) -> None:
        calls.append(None)
        if len(calls) == 1:
            land(lake, folder)
        merge(*how)

    monkeypatch.setattr(ad_lakehouse.files.files_table, "merge", overtaken)
    land(lake, folder)
    assert len(calls) >= 3, "one run wrote while the other did"
    assert [row.path for row in read_rows(lake, "path", ["a.jsonl"])] == ["a.jsonl"]


def test_runs_on_two_sides_of_midnight_write_one_row_a_file(lake: Lake, folder: Path) -> None:
    (folder / "nobody.xyz").write_bytes(b"?")
    row = None
    tables = [FilesTable(lake, ["nobody.xyz"]) for _ in range(2)]
    for day, table in enumerate(tables):
        moment = datetime(2026, 11, 26 + day, tzinfo=UTC)
        row = FileRow("nobody.xyz", "unclaimed", "", "", 0, 0, 1, moment, "", "i", moment, moment.date())
        table.note(row)
    for table in tables:
        table.flush()
    assert read_rows(lake, "path", ["nobody.xyz"]) == [row]


def test_a_prefix_of_an_object_store_is_landed_like_a_folder(lake: Lake, folder: Path) -> None:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines(*range(50))))
    (folder / "events.csv").write_text(HEADER + f"{datetime.now(UTC).isoformat()},u1,c1,click\n")
    (folder / "dimensions").mkdir()
    (folder / "dimensions" / "sites.csv").write_text("site,name\nnews.example,News\n")
    (folder / "_hidden.jsonl").write_bytes(lines(7))
    reports = land(lake, folder.as_uri(), max_batch_rows=20)
    assert {name: (each.outcome, each.rows, each.commits) for name, each in reports.items()} == {
        "a.jsonl.gz": ("landed", 50, 3),
        "dimensions/sites.csv": ("landed", 1, 1),
        "events.csv": ("landed", 1, 2),
    }
    assert {each.outcome for each in land(lake, folder.as_uri()).values()} == {"already landed"}
    assert rows(lake, "_file, count(*)", where="true group by all") == [("a.jsonl.gz", 50)]
    delivered = [place for note in notes(lake) for place in note.get("delivered", [])]
    assert [place["done"] for place in delivered] == [False, False, True]


def test_an_object_that_is_replaced_while_it_is_read_is_told(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.jsonl").write_bytes(lines(1))
    same = StorePrefix.same

    def replaced(*how: Any) -> bool:
        (folder / "a.jsonl").write_bytes(lines(2, 3))
        return same(*how)

    monkeypatch.setattr(StorePrefix, "same", replaced)
    assert land(lake, folder.as_uri())["a.jsonl"].outcome == "changed while read"
    assert rows(lake, "count(*)") == []


def test_a_store_that_cannot_be_listed_is_told(lake: Lake) -> None:
    settings = Settings(
        drop_storage_options={
            "aws_endpoint": "http://127.0.0.1:1", "allow_http": "true", "aws_access_key_id": "k",
            "aws_secret_access_key": "s", "aws_region": "eu", "timeout": "1s",
        }
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"Drop folder s3://nowhere/drop cannot be listed"):
        land_files(lake, load_sources(), "s3://nowhere/drop", settings)


def count_opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many files have been opened from now on."""
    calls: list[str] = []
    opened = ad_lakehouse.files.drop.LocalFolder.open

    def counted(self: Any, name: str) -> Any:
        calls.append(name)
        return opened(self, name)

    monkeypatch.setattr(ad_lakehouse.files.drop.LocalFolder, "open", counted)
    return lambda: len(calls)
