"""How far a file has been landed into one table, as the version of a Delta transaction.

Belongs here: app ids of files and the meaning of their versions. Not here: landing.

A file's app id is `file:<SHA-256 of its bytes>`, so that the same content under another name is the same file; a
file that feeds several tables has one transaction in each. A large file takes several commits, and a crash may come
between any two. The version therefore tells both how many rows were landed and whether the file is done:
2 × rows while more may follow, then 2 × rows + 1. It grows with each commit, as Delta asks of it.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Progress:
    """The first `rows` records of a file are landed; `done` when there are no more."""

    rows: int
    done: bool

    @property
    def version(self) -> int:
        return 2 * self.rows + self.done

    @classmethod
    def of(cls, version: int | None) -> Self:
        """What a transaction's version says; None when the file was never seen."""
        return cls(0, done=False) if version is None else cls(version // 2, bool(version % 2))


def app_id(sha256: str) -> str:
    return f"file:{sha256}"
