"""The cache of Kafka's jars: whole or not there, mended, fetched once by many processes. Nothing is downloaded here."""

import subprocess
import sys
from pathlib import Path

import pytest

from ad_lakehouse.demo.artefacts import JARS, KafkaUnavailable, fetched_jars, find_java, is_whole, java_version

FETCHER = """
import sys, time
from pathlib import Path
from ad_lakehouse.demo.artefacts import JARS, fetched_jars

def fetch(folder, work):
    with open(sys.argv[1], "a") as log:
        print("fetch", file=log)
    folder.mkdir()
    for number in range(JARS):
        time.sleep(0.01)
        (folder / f"{number}.jar").write_bytes(b"jar")

print(fetched_jars(fetch=fetch))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AD_LAKEHOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def jars(count: int = JARS) -> "Fetch":
    return Fetch(count)


class Fetch:
    """Puts so many jars there, and counts how often it was asked."""

    def __init__(self, count: int) -> None:
        self.count, self.calls = count, 0

    def __call__(self, folder: Path, work: Path) -> None:
        self.calls += 1
        folder.mkdir()
        for number in range(self.count):
            (folder / f"{number}.jar").write_bytes(b"jar")


def test_jars_are_fetched_once_and_said_so(cache: Path) -> None:
    fetch, said = jars(), []
    folder = fetched_jars(said.append, fetch)
    assert fetched_jars(said.append, fetch) == folder
    assert fetch.calls == len(said) == 1
    assert is_whole(folder)
    assert folder.parent == cache


@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_a_damaged_cache_is_mended(cache: Path, damage: str) -> None:
    fetch = jars()
    folder = fetched_jars(fetch=fetch)
    victim = folder / "7.jar"
    victim.unlink() if damage == "removed" else victim.write_bytes(b"")
    assert is_whole(fetched_jars(fetch=fetch))
    assert fetch.calls == 2
    assert [path.name for path in cache.glob("fetching-*")] == []


def test_a_fetch_that_brings_too_little_leaves_nothing_behind(cache: Path) -> None:
    with pytest.raises(KafkaUnavailable, match="could not be fetched") as caught:
        fetched_jars(fetch=jars(JARS - 1))
    assert "\n" not in str(caught.value)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert is_whole(fetched_jars(fetch=jars()))


def test_what_a_killed_fetch_left_is_removed(cache: Path) -> None:
    left = cache / f"fetching-{fetched_jars(fetch=jars()).name}-killed"
    left.mkdir()
    (fetched_jars(fetch=jars()) / "0.jar").unlink()
    fetched_jars(fetch=jars())
    assert not left.exists()


def test_two_processes_at_once_fetch_once(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "fetches"
    command = [sys.executable, "-c", FETCHER, str(log)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert log.read_text() == "fetch\n"


def test_a_java_that_is_none_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert java_version(str(tmp_path / "absent")) == 0
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    assert java_version(str(fake)) == 11
    monkeypatch.setenv("AD_LAKEHOUSE_JAVA", "/opt/own/java")
    assert find_java() == "/opt/own/java"
