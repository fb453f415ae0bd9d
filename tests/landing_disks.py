"""A disk of a test's own, mounted on a folder: it can be made full and read-only.

Belongs here: mounting. Not here: what landing does then.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landing_topics import wait_until


def mount(*how: str) -> subprocess.CompletedProcess[str]:
    """Only root may."""
    return subprocess.run(["mount", *how], check=False, capture_output=True, text=True)


class Disk:
    """A disk of at most `size` bytes on a folder; a context manager. It takes memory only for what is on it."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.refusal = ""  # why it could not be mounted

    def __enter__(self) -> "Disk":
        self.folder.mkdir(parents=True, exist_ok=True)
        done = mount("-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", str(self.folder))
        self.refusal = done.stderr.strip() if done.returncode else ""
        return self

    def __exit__(self, *_: object) -> None:
        if not self.refusal:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """It has just the size of what is on it."""
        wait_until(lambda: self._turned(f"size={self._used()}"))  # refused when something was written meanwhile
        yield
        wait_until(lambda: self._turned(f"size={self.size}"))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        wait_until(lambda: self._turned("ro"))  # refused while a file is being written
        yield
        wait_until(lambda: self._turned("rw"))

    def _turned(self, mode: str) -> bool:
        return not mount("-o", f"remount,{mode}", str(self.folder)).returncode

    def _used(self) -> int:
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize
