"""The drop folder: a folder, or a prefix of an object store, where files arrive.

Belongs here: which files there are, opening one, telling whether it is still the same. Not here: what is in them.

What is not a file of ours yet is left alone: names that begin with `.` or `_`, of files and of folders, and names that
end in `.tmp` or `.part`.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol, cast

import obstore
from obstore.exceptions import BaseError as StoreError

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake

UNFINISHED = (".tmp", ".part")
READ_AHEAD = 8 << 20  # bytes asked of an object store at once


@dataclass(frozen=True)
class Dropped:
    """A file as it was seen: its name below the folder, bytes, when it was written (UTC).

    `identity` is another one when the content may be another one. `error`: why it cannot be looked at.
    """

    name: str
    size: int
    modified: datetime
    identity: str
    error: str = ""


@dataclass(frozen=True)
class Opened:
    """A file that is being read."""

    stream: IO[bytes]
    seen: Dropped


class DropFolder(Protocol):
    """Where files arrive."""

    def files(self) -> Iterator[Dropped]:
        """Files that may be landed, in the order of their names."""

    def open(self, name: str) -> Any:
        """A context manager that gives an `Opened`. Raises `OSError` when the file is gone or may not be read."""

    def same(self, opened: Opened) -> bool:
        """Whether nobody has written to the file since it was opened."""


def drop_folder(location: str | Path | DropFolder, storage_options: Mapping[str, str]) -> DropFolder:
    """The folder, or the prefix of an object store. Raises `ConfigurationError` when it is not there."""
    if not isinstance(location, str | Path):
        return location
    if "://" in str(location):
        return StorePrefix(str(location), storage_options)
    folder = Path(location)
    if not folder.is_dir():
        what = "that is a file" if folder.exists() else "there is no such folder"
        raise ConfigurationError(
            f"Drop folder {folder}: {what}.",
            remedy="Correct the folder that the command names, or else AD_LAKEHOUSE_DROP_FOLDER.",
        )
    return LocalFolder(folder)


class ListedOnce:
    """A drop folder that is listed once, for all that ask: a listing of a large one takes minutes.

    A file is opened as it is then, whatever was listed.
    """

    def __init__(self, folder: DropFolder) -> None:
        self._folder = folder
        self._files: Sequence[Dropped] | None = None

    def files(self) -> Iterator[Dropped]:
        if self._files is None:
            self._files = tuple(self._folder.files())
        return iter(self._files)

    def open(self, name: str) -> Any:
        return self._folder.open(name)

    def same(self, opened: Opened) -> bool:
        return self._folder.same(opened)


def is_ours(name: str) -> bool:
    """Whether a name below the folder is that of a file to land."""
    return not name.endswith(UNFINISHED) and not any(part.startswith((".", "_")) for part in name.split("/"))


@dataclass(frozen=True)
class LocalFolder:
    """A folder of a file system, with the folders in it."""

    folder: Path

    def files(self) -> Iterator[Dropped]:
        for parent, folders, names in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
            for name in sorted(names):
                path = Path(parent, name)
                relative = path.relative_to(self.folder).as_posix()
                if not is_ours(relative):
                    continue
                try:
                    yield described(relative, path.stat())
                except OSError as error:  # gone since it was listed, or a link to nothing
                    yield unreadable(relative, f"it cannot be read: {reason(error)}")

    @contextmanager
    def open(self, name: str) -> Iterator[Opened]:
        with (self.folder / name).open("rb") as stream:
            yield Opened(stream, described(name, os.fstat(stream.fileno())))

    def same(self, opened: Opened) -> bool:
        return described(opened.seen.name, os.fstat(opened.stream.fileno())) == opened.seen


def described(name: str, found: os.stat_result) -> Dropped:
    """A file of a file system. Renaming it keeps its identity but for the name; writing to it, or over it, does not."""
    if not stat.S_ISREG(found.st_mode):
        return unreadable(name, "it is no file")
    modified = datetime.fromtimestamp(found.st_mtime_ns // 1_000 / 1_000_000, UTC)
    return Dropped(name, found.st_size, modified, f"{found.st_ino} {found.st_size} {found.st_mtime_ns}")


def unreadable(name: str, why: str) -> Dropped:
    return Dropped(name, 0, datetime.fromtimestamp(0, UTC), "", why)


def reason(error: OSError) -> str:
    return error.strerror or str(error)


class StorePrefix:
    """A prefix of an object store."""

    def __init__(self, url: str, storage_options: Mapping[str, str]) -> None:
        self._url, self._store = url, Lake(url, storage_options).store()

    def files(self) -> Iterator[Dropped]:
        """Raises `ConfigurationError` when the store cannot be listed."""
        try:
            pages = [[found(each) for each in page if is_ours(each["path"])] for page in obstore.list(self._store)]
        except (StoreError, OSError) as error:
            raise ConfigurationError(
                f"Drop folder {self._url} cannot be listed: {str(error).splitlines()[0]}.",
                remedy="Correct AD_LAKEHOUSE_DROP_FOLDER or AD_LAKEHOUSE_DROP_STORAGE_OPTIONS.",
            ) from None
        yield from sorted(chain.from_iterable(pages), key=lambda each: each.name)

    @contextmanager
    def open(self, name: str) -> Iterator[Opened]:
        try:
            seen = found(obstore.head(self._store, name))
            reader = obstore.open_reader(self._store, name, buffer_size=READ_AHEAD)
        except StoreError as error:
            raise OSError(str(error).splitlines()[0]) from None
        yield Opened(cast(IO[bytes], BufferedReader(Reading(reader), READ_AHEAD)), seen)

    def same(self, opened: Opened) -> bool:
        try:
            return found(obstore.head(self._store, opened.seen.name)) == opened.seen
        except (StoreError, OSError):  # it is gone, or the store is
            return False


def found(meta: Mapping[str, Any]) -> Dropped:
    """An object of a store. A listing and a look at one object tell the same identity: of a version only one tells."""
    identity = meta["e_tag"] or f"{meta['size']} {meta['last_modified']:%s.%f}"
    return Dropped(meta["path"], meta["size"], meta["last_modified"], identity)


class Reading(RawIOBase):
    """An object of a store as Python's own kind of stream: gzip and the decoders want one."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            content = memoryview(self._reader.read(len(buffer)))
        except StoreError as error:
            raise OSError(str(error).splitlines()[0]) from None
        buffer[: len(content)] = content
        return len(content)
