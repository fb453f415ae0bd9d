"""A bronze table that became another one under the hands that land into it: replaced, or restored to an older version.

Belongs here: the errors, telling from the log whether a restore took landed rows away, accepting that. Not here:
looking for it (commit.py).

Delta's `restore` takes rows back and leaves the transactions, so the positions stand behind records that are gone. It
conflicts with every commit that was under way, so whoever lands sees it before the next commit.
"""

import json
from dataclasses import dataclass

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY
from ad_lakehouse.lake.log import BATCH_KEY, Commit, TableLog

ACCEPTED = "accepted_restore"


class TableReplaced(LakehouseError):
    """Another table, or an older copy of it, was put in the table's place while it was landed."""

    exit_code = 35


class TableRestored(LakehouseError):
    """A restore took away rows that were landed; the positions stay behind them."""

    exit_code = 39


@dataclass(frozen=True)
class Restored:
    """Versions of a table: of the restore, of the last landing, and of the last landing whose rows are still there.

    `kept` is None when there is none.
    """

    at: int
    landed: int
    kept: int | None


def replaced(name: TableName) -> TableReplaced:
    return TableReplaced(
        f"{name} was replaced while it was landed.",
        remedy="Nothing was written to the new table. Land again: it goes on at that table's position.",
    )


def refuse_restored(lake: Lake, name: TableName, version: int) -> None:
    """Raises `TableRestored` when rows that were landed are not in this version because of a restore."""
    found = restored(TableLog(lake, name), version)
    if found is not None:
        lost = "all that landed" if found.kept is None else f"what landed behind version {found.kept}"
        raise TableRestored(
            f"{name} was restored by its version {found.at}: {lost} up to version {found.landed} is gone, "
            "and the positions are behind it.",
            remedy=f"Nothing was landed since. Bring it back by a restore to version {found.landed} or later, or "
            "accept the loss with `ad-lakehouse land --accept-loss`; the ledger goes on telling what is missing.",
        )


def accept_restore(lake: Lake, name: TableName) -> None:
    """Writes into the table's log that what a restore took away is not missed; does nothing where there is none."""
    while (table := lake.open_if_exists(name)) is not None:
        found = restored(TableLog(lake, name), table.version())
        if found is None:
            return
        note = {"kind": ACCEPTED, "restored_at": found.at, "landed": found.landed, "kept": found.kept}
        try:
            table.create_write_transaction(
                [],
                "append",
                table.schema(),
                [DAY],
                commit_properties=CommitProperties(custom_metadata={BATCH_KEY: json.dumps(note)}),
            )
        except CommitFailedError:  # another commit was first: look again
            continue
        return


def restored(log: TableLog, version: int) -> Restored | None:
    """The restore that took landed rows away from a version; None when there is none.

    One entry is read where the newest commit landed something; where the log was cleaned up nothing was lost lately.
    """
    first: int | None = None
    at = version
    while at >= 0 and (commit := log.commit(at)) is not None and not is_landing(commit):
        if commit.info.get("operation") == "RESTORE":
            first = at if first is None else first
            at = target_of(commit)
        else:
            at -= 1
    if first is None:
        return None
    kept = at if at >= 0 else None
    landed = next((each.version for each in log.newest_first(first) if each.note.get("delivered")), None)
    return None if landed is None or landed <= (-1 if kept is None else kept) else Restored(first, landed, kept)


def is_landing(commit: Commit) -> bool:
    """Whether a commit landed something, or accepted what was lost before it."""
    return bool(commit.note.get("delivered")) or commit.note.get("kind") == ACCEPTED


def target_of(commit: Commit) -> int:
    """The version a restore went back to; −1, as if to nothing, when it names a time."""
    named = str(commit.info.get("operationParameters", {}).get("version"))
    return int(named) if named.isdigit() and int(named) < commit.version else -1
