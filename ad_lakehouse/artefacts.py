"""Jars from Maven Central by their coordinates, once per user, without Maven; and the Java that runs them.

Belongs here: the cache, fetching into it, asking a Java what it is. Not here: which artefacts a part needs
(demo/artefacts.py, dbt_spark/artefacts.py, warehouse/artefacts.py).
"""

import fcntl
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ad_lakehouse.errors import LakehouseError

Say = Callable[[str], None]
Fetch = Callable[[Path, Path], None]  # puts the jars into its first folder and may work in its second


class FetchFailed(LakehouseError):
    """Artefacts can't be had on this machine."""

    exit_code = 17


class OutsideFolder(Exception):
    """An archive holds what would be written outside of the folder it is unpacked into."""


@dataclass(frozen=True)
class Artefacts:
    """Jars that are fetched together; `key` names their folder in the cache.

    `coordinates` are group:artefact:version; with `alone` only these are fetched, else also what they need. A program
    packed as group:artefact:version:tar.gz[:classifier] is fetched alone and unpacked. `jars` is how many there are
    then, at any depth, `size` what to tell people.
    """

    key: str
    name: str
    version: str
    coordinates: tuple[str, ...]
    jars: int
    size: str
    alone: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> Path:
        return cache_folder() / f"{self.key}-{self.version}"

    def is_whole(self, folder: Path) -> bool:
        """Whether all jars are there, none of them empty."""
        jars = list(folder.rglob("*.jar"))
        return len(jars) == self.jars and all(jar.stat().st_size for jar in jars)


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


def fetched(wanted: Artefacts, say: Say = lambda _: None, fetch: Fetch | None = None) -> Path:
    """The folder of the jars, fetched on first use. Raises `FetchFailed`.

    The folder appears in one rename when it is whole, so a fetch that was cut off is simply begun again; so is one
    whose files were removed. A whole one may lie where nothing can be written, as in an image.
    """
    folder = wanted.folder
    if wanted.is_whole(folder):
        return folder
    with locked(folder):
        if wanted.is_whole(folder):
            return folder
        say(f"Fetching {wanted.title} ({wanted.size}, once per user) …")
        with aside(folder) as work:
            try:
                (fetch or fetcher(wanted))(work / "jars", work)
                if not wanted.is_whole(work / "jars"):
                    raise FileNotFoundError("jars are missing")
            except ModuleNotFoundError as error:
                raise FetchFailed(
                    f"{wanted.title} could not be fetched: {error.name} is not installed.",
                    remedy=f"pip install {error.name}.",
                ) from None
            except Exception as error:  # noqa: BLE001 jgo raises whatever its HTTP client and resolver raise
                raise FetchFailed(
                    f"{wanted.title} could not be fetched ({type(error).__name__}).",
                    remedy="Maven Central must be reachable.",
                ) from None
            if folder.exists():
                folder.rename(work / "damaged")
            (work / "jars").rename(folder)
    return folder


def fetcher(wanted: Artefacts) -> Fetch:
    """Resolves and downloads by PyPI's jgo."""

    def with_all_they_need(folder: Path, work: Path) -> None:
        from jgo import EnvironmentBuilder, LinkStrategy, MavenContext
        from jgo.maven import PythonResolver

        builder = EnvironmentBuilder(
            context=MavenContext(repo_cache=work / "m2", resolver=PythonResolver()),
            cache_dir=work / "env",
            link_strategy=LinkStrategy.COPY,
        )
        # "!": without it the dependency management of one coordinate sets back versions of another
        environment = builder.from_endpoint("+".join(f"{coordinate}!" for coordinate in wanted.coordinates))
        folder.mkdir()
        for jar in environment.path.rglob("*.jar"):
            shutil.move(jar, folder / jar.name)

    def alone(folder: Path, work: Path) -> None:
        from jgo.maven import MavenContext, PythonResolver

        context = MavenContext(repo_cache=work / "m2", resolver=PythonResolver())
        folder.mkdir()
        for coordinate in wanted.coordinates:
            group, artefact, version, *packed = coordinate.split(":")
            packaging, classifier = (*packed, "")[:2] if packed else ("jar", "")
            wanted_file = context.project(group, artefact).at_version(version).artifact(classifier, packaging)
            file = Path(wanted_file.resolve())
            if packaging == "tar.gz":
                unpack(file, folder)
            else:
                shutil.move(file, folder / file.name)

    return alone if wanted.alone else with_all_they_need


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar.gz; what would end up outside of the folder is refused (`OutsideFolder`)."""
    inside = folder.resolve()
    with tarfile.open(archive, "r:gz") as packed:
        for each in packed.getmembers():
            place = inside / each.name
            leads_to = place.parent / each.linkname if each.issym() else inside / each.linkname
            if not all(where.resolve().is_relative_to(inside) for where in (place, leads_to)):
                raise OutsideFolder(each.name)
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(folder)  # noqa: S202 checked above


def java_version(java: str) -> int:
    """The major version a Java says of itself; 0 when it does not."""
    said = re.search(r'version "(\d+)', answer(java, "-version"))
    return int(said[1]) if said else 0


def answer(java: str, *question: str) -> str:
    """What a Java prints; nothing when it cannot be run."""
    try:
        done = subprocess.run([java, *question], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr + done.stdout
