"""What became of a file in one run.

Belongs here: the outcomes, the report. Not here: finding out (landing.py, content.py), what is kept of it
(files_table.py).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ad_lakehouse.files.drop import Dropped
from ad_lakehouse.files.files_table import State
from ad_lakehouse.lake import TableName

Outcome = Literal["landed", "already landed", "no source", "still being written", "changed while read", "broken"]
STATES: Mapping[Outcome, State] = {
    "landed": "landed",
    "already landed": "landed",
    "no source": "unclaimed",
    "still being written": "being_written",
    "changed while read": "changed",
    "broken": "broken",
}


@dataclass
class FileReport:
    """What became of one file. `path` is relative to the folder; `rows` and `rejected` are those of this run.

    `seen`: the file as it was when this became of it.
    """

    path: str
    seen: Dropped
    outcome: Outcome
    tables: tuple[TableName, ...] = ()
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    seconds: float = 0.0
    error: str = ""
    sha256: str = ""
    records: int = 0  # of the file, in its tables now, whichever run landed them
    began: int = 0  # with which record this run began

    @property
    def accepted(self) -> int:
        return self.rows - self.rejected.total()
