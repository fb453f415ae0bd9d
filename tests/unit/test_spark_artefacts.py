"""Whether Spark can be had: which Java is fit, enough memory, PySpark, Delta's jars. Nothing is downloaded here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ad_lakehouse.dbt_spark.artefacts import (
    DELTA,
    LEAST_MEMORY,
    JavaMissing,
    SparkUnavailable,
    jars,
    java_home,
    log_store,
    require_memory,
    require_pyspark,
)

JAVA = """#!/bin/sh
case "$*" in
  *-version*) printf '    java.home = {home}\\n    java.specification.version = {version}\\n' >&2 ;;
  *--list-modules*) printf '%s\\n' {modules} ;;
esac
"""
ALL_MODULES = "java.base jdk.incubator.vector jdk.zipfs"


@pytest.fixture(autouse=True)
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java: the PATH is an empty folder."""
    monkeypatch.delenv("AD_LAKEHOUSE_JAVA", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def install(home: Path, *, version: str = "17", modules: str = ALL_MODULES) -> Path:
    """A home whose `java` answers two questions."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(home=home, version=version, modules=modules))
    java.chmod(0o755)
    return java


@pytest.mark.parametrize("version", ["17", "21", "25"])
def test_a_full_java_of_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", str(install(tmp_path / "jvm", version=version).parent))
    assert java_home() == tmp_path / "jvm"


def test_a_version_managers_script_leads_to_the_java_it_runs(tmp_path: Path) -> None:
    java = install(tmp_path / "jvm")
    shim = tmp_path / "bin" / "java"
    shim.write_text(f'#!/bin/sh\nexec {java} "$@"\n')
    shim.chmod(0o755)
    assert java_home() == tmp_path / "jvm"


def test_a_java_named_for_us_comes_before_java_home_and_that_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(install(tmp_path / "path").parent))
    monkeypatch.setenv("JAVA_HOME", str(install(tmp_path / "home").parents[1]))
    assert java_home() == tmp_path / "home"
    monkeypatch.setenv("AD_LAKEHOUSE_JAVA", str(install(tmp_path / "own")))
    assert java_home() == tmp_path / "own"


def test_an_unfit_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_JAVA", str(install(tmp_path / "cut", modules="java.base")))
    monkeypatch.setenv("JAVA_HOME", str(install(tmp_path / "old", version="11").parents[1]))
    monkeypatch.setenv("PATH", str(install(tmp_path / "fit").parent))
    assert java_home() == tmp_path / "fit"


@pytest.mark.parametrize(
    ("version", "modules", "reason"),
    [
        ("1.8", ALL_MODULES, "is version 1.8"),
        ("16", ALL_MODULES, "is version 16"),
        ("26", ALL_MODULES, "is version 26"),
        ("17", "java.base jdk.zipfs", "lacks the module jdk.incubator.vector"),
    ],
)
def test_an_unfit_java_is_named_with_its_reason_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, modules: str, reason: str
) -> None:
    java = install(tmp_path / "jvm", version=version, modules=modules)
    monkeypatch.setenv("PATH", str(java.parent))
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    with pytest.raises(JavaMissing) as caught:
        java_home()
    assert caught.value.message == f"Spark needs Java 17 to 25; {java} {reason}."
    assert "apt-get install openjdk-17-jre-headless" in caught.value.remedy
    assert "AD_LAKEHOUSE_JAVA" in caught.value.remedy


def test_without_java_none_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JavaMissing, match="none was found"):
        java_home()
    monkeypatch.setenv("AD_LAKEHOUSE_JAVA", str(tmp_path / "absent"))
    with pytest.raises(JavaMissing, match=r"absent is none\."):
        java_home()


def test_too_little_memory_is_told_in_figures() -> None:
    require_memory(LEAST_MEMORY)
    with pytest.raises(SparkUnavailable, match="Only 512 MiB of memory are free; Spark needs 2,048 MiB"):
        require_memory(512 << 20)


def test_without_pyspark_the_remedy_is_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(SparkUnavailable) as caught:
        require_pyspark()
    assert "pip install 'ad-lakehouse[spark]'" in caught.value.remedy


def test_delta_is_the_named_jars_alone_and_a_failed_fetch_is_spark_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(folder: Path, work: Path) -> None:
        folder.mkdir()
        for coordinate in DELTA.coordinates:
            _, artefact, version = coordinate.split(":")
            (folder / f"{artefact}-{version}.jar").write_bytes(b"jar")

    def cut_off(folder: Path, work: Path) -> None:
        raise ConnectionError

    monkeypatch.setenv("AD_LAKEHOUSE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SparkUnavailable, match=r"Delta Lake for Spark 4\.4\.0 could not be fetched .* Maven Central"):
        jars(DELTA, fetch=cut_off)
    found = jars(DELTA, fetch=fetch)
    assert DELTA.alone
    assert [jar.name for jar in found] == [
        "delta-kernel-api-4.4.0.jar",
        "delta-kernel-defaults-4.4.0.jar",
        "delta-kernel-unitycatalog-4.4.0.jar",
        "delta-spark_4.2_2.13-4.4.0.jar",
        "delta-storage-4.4.0.jar",
    ]


def test_a_log_store_that_does_not_compile_says_why_and_the_next_try_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_CACHE", str(tmp_path / "cache"))
    java = install(tmp_path / "jdk")
    java.write_text("#!/bin/sh\necho 'object delta is not a member of package io'\nexit 1\n")
    with pytest.raises(SparkUnavailable, match=r"could not be compiled: object delta is not a member") as caught:
        log_store(tmp_path / "jdk", tmp_path, [])
    assert "requirements-spark.lock" in caught.value.remedy
    java.write_text('#!/bin/sh\nwhile test "$1" != -d; do shift; done\necho jar > "$2"\n')
    said: list[str] = []
    made = log_store(tmp_path / "jdk", tmp_path, [], said.append)
    assert made.read_text() == "jar\n"
    assert log_store(tmp_path / "jdk", tmp_path, [], said.append) == made
    assert said == ["Compiling Spark's log store for S3 (seconds, once per user) …"]


def test_missing_java_has_an_exit_code_of_its_own_so_that_make_knows_it(tmp_path: Path) -> None:
    """PySpark is stood in for, since these tests run without it; the module itself runs as `make` runs it."""
    (tmp_path / "pyspark.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "ad_lakehouse.dbt_spark.artefacts"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (15, "")  # as in the Makefile's test-engines
    assert done.stderr.startswith("Spark needs Java 17 to 25; none was found. On Debian and Ubuntu: apt-get install")
