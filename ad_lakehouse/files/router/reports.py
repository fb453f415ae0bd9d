"""What became of a file: told to the caller, and written down for people.

Belongs here: the outcomes, the states, their words. Not here: deciding (routing.py), the records (progress.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ad_lakehouse.files.drop import Dropped
from ad_lakehouse.files.router.chunks import Unsent
from ad_lakehouse.files.router.progress import Content, FileState, State

Outcome = Literal[
    "routed",
    "already routed",
    "no source",
    "no topic",
    "no registry",
    "still being written",
    "changed while read",
    "broken",
    "stopped",
]
STATES: Mapping[Outcome, State] = {
    "no source": "unclaimed",
    "no topic": "unclaimed",
    "changed while read": "changed",
    "broken": "broken",
}
LONGEST_REASON = 2_000  # characters; a file's own words may stand in it
LASTING = ("broken", "no source", "no topic")


@dataclass
class RouteReport:
    """What became of one file. `rows`: those of this run.

    `unsent`: how many rows of this run no message takes; `named`: the first of them.
    """

    path: str
    seen: Dropped
    outcome: Outcome
    topics: tuple[str, ...] = ()
    rows: int = 0
    unsent: int = 0
    named: list[Unsent] = field(default_factory=list)
    error: str = ""
    sha256: str = ""
    content: str = ""  # its `content_id`, once it is known
    passing: bool = False  # whether the same file may be readable later
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.outcome in ("broken", "changed while read", "no topic", "no registry") or bool(self.unsent)


def file_state(report: RouteReport, content: Content, now: datetime) -> FileState:
    """What is written down of a file, by what is known of its content now."""
    state: State = STATES.get(report.outcome, "routed")
    told = report.error
    if state == "routed" and content.file != report.path:
        state, told = "duplicate", f"the same content as {content.file}"
    elif state == "routed" and content.unsent:
        state, told = "incomplete", "; ".join(content.named)
    return FileState(
        report.path,
        state,
        now.isoformat(timespec="milliseconds"),
        report.sha256,
        report.seen.identity,
        report.topics,
        content.rows - content.unsent,
        content.unsent,
        told,
    )
