"""The cache of jars: whole or not there, mended, fetched once by many processes. Nothing is downloaded here."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ad_lakehouse.artefacts import Artefacts, FetchFailed, fetched, java_version, unpack

THREE = Artefacts("three", "Three Jars", "1.2", ("org.example:three:1.2",), jars=3, size="3 MB")
FETCHER = """
import sys, time
from ad_lakehouse.artefacts import Artefacts, fetched

def fetch(folder, work):
    with open(sys.argv[1], "a") as log:
        print("fetch", file=log)
    folder.mkdir()
    for number in range(3):
        time.sleep(0.2)
        (folder / f"{number}.jar").write_bytes(b"jar")

print(fetched(Artefacts("three", "Three Jars", "1.2", (), jars=3, size="3 MB"), fetch=fetch))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AD_LAKEHOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Fetch:
    """Puts so many jars there, and counts how often it was asked."""

    def __init__(self, count: int = THREE.jars) -> None:
        self.count, self.calls = count, 0

    def __call__(self, folder: Path, work: Path) -> None:
        self.calls += 1
        folder.mkdir()
        for number in range(self.count):
            (folder / f"{number}.jar").write_bytes(b"jar")


def test_jars_are_fetched_once_and_said_so(cache: Path) -> None:
    fetch, said = Fetch(), []
    folder = fetched(THREE, said.append, fetch)
    assert fetched(THREE, said.append, fetch) == folder == cache / "three-1.2"
    assert fetch.calls == 1
    assert said == ["Fetching Three Jars 1.2 (3 MB, once per user) …"]
    assert THREE.is_whole(folder)


def test_whole_jars_are_found_where_nothing_can_be_written(cache: Path) -> None:
    fetch = Fetch()
    folder = fetched(THREE, fetch=fetch)
    lock = cache / "three-1.2.lock"
    lock.unlink()
    lock.mkdir()  # it cannot be opened to write
    assert fetched(THREE, fetch=fetch) == folder
    assert fetch.calls == 1


def test_another_version_has_a_folder_of_its_own(cache: Path) -> None:
    newer = Artefacts("three", "Three Jars", "1.3", THREE.coordinates, jars=2, size="2 MB")
    assert THREE.is_whole(fetched(THREE, fetch=Fetch()))
    assert newer.is_whole(fetched(newer, fetch=Fetch(2)))
    assert THREE.is_whole(cache / "three-1.2")


@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_a_damaged_cache_is_mended(cache: Path, damage: str) -> None:
    fetch = Fetch()
    victim = fetched(THREE, fetch=fetch) / "1.jar"
    victim.unlink() if damage == "removed" else victim.write_bytes(b"")
    assert THREE.is_whole(fetched(THREE, fetch=fetch))
    assert fetch.calls == 2
    assert [path.name for path in cache.glob("fetching-*")] == []


def test_a_fetch_that_brings_too_little_leaves_nothing_behind(cache: Path) -> None:
    with pytest.raises(FetchFailed, match=r"Three Jars 1\.2 could not be fetched .* Maven Central") as caught:
        fetched(THREE, fetch=Fetch(THREE.jars - 1))
    assert "\n" not in str(caught.value)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert THREE.is_whole(fetched(THREE, fetch=Fetch()))


def packed(archive: Path, names: Sequence[str]) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"jar"))
    return archive


def test_a_packed_program_is_whole_with_jars_at_any_depth(cache: Path, tmp_path: Path) -> None:
    archive = packed(tmp_path / "program.tar.gz", ["run.jar", "lib/main/one.jar", "lib/main/two.jar", "names.txt"])
    folder = fetched(THREE, fetch=lambda jars, work: (jars.mkdir(), unpack(archive, jars))[0])
    assert (folder / "lib" / "main" / "one.jar").read_bytes() == b"jar"
    (folder / "lib" / "main" / "two.jar").unlink()
    assert not THREE.is_whole(folder)


def test_a_packed_program_cannot_write_outside_of_its_folder(cache: Path, tmp_path: Path) -> None:
    archive = packed(tmp_path / "program.tar.gz", ["run.jar", "../outside.jar", "two.jar", "three.jar"])
    with pytest.raises(FetchFailed, match=r"could not be fetched \(OutsideFolder\)"):
        fetched(THREE, fetch=lambda jars, work: (jars.mkdir(), unpack(archive, jars))[0])
    assert list(tmp_path.rglob("outside.jar")) == []


def test_without_jgo_the_remedy_is_to_install_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(FetchFailed) as caught:
        fetched(THREE)
    assert caught.value.remedy == "pip install jgo."


def test_what_a_killed_fetch_left_is_removed(cache: Path) -> None:
    folder = fetched(THREE, fetch=Fetch())
    left = cache / f"fetching-{folder.name}-killed"
    left.mkdir()
    (folder / "0.jar").unlink()
    fetched(THREE, fetch=Fetch())
    assert not left.exists()


def test_two_processes_at_once_fetch_once(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "fetches"
    command = [sys.executable, "-c", FETCHER, str(log)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert log.read_text() == "fetch\n"


def test_a_java_that_is_none_has_no_version(tmp_path: Path) -> None:
    assert java_version(str(tmp_path / "absent")) == 0
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    assert java_version(str(fake)) == 11
