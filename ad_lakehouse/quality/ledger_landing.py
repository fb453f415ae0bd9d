"""The ledger of landing: for each topic partition and file, records delivered = rows accepted + rejected.

Belongs here: reading the notes of a bronze table's commits and counting its rows. Not here: the comparison
(ledger_rows.py), models (ledger_models.py).

Deliveries are summed up commit by commit, so that the log may be cleaned behind the recorded version. Rows are
counted in the files that the new commits added; as soon as anything but a landing changed rows (a replay, an
erasure, a foreign hand), when the number of rows in the table is not the sum of the ledger, or when the ledger was
off, the whole table is counted again, batch by batch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import connect
from ad_lakehouse.quality.ledger_counts import (
    Counts,
    Delivery,
    LandedTable,
    Subject,
    deliveries,
    follow,
    followed_contents,
    is_landing,
)
from ad_lakehouse.quality.ledger_rows import LedgerRow, weigh


def landing_rows(lake: Lake, name: TableName, before: Sequence[LedgerRow], *, recount: bool = False) -> list[LedgerRow]:
    """The ledger's rows of one bronze table now; `before` are those it had."""
    with connect(lake) as connection:
        connection.execute("set global parquet_metadata_cache = false")  # each file is read once
        table = LandedTable(lake, name, connection)
        state = before[0].versions.get(str(name), {}) if before else {}
        if state == table.state and not recount:
            return list(before)
        commits, known = None, {}
        if state and state["id"] == table.state["id"]:
            commits = table.log.since(state["version"], table.state["version"])
            known = {(row.kind, row.subject): row for row in before}
        complete = commits is not None
        if commits is None:
            known, commits = {}, table.commits
            complete = bool(commits) and commits[0].version == 0
        new = deliveries(commits)
        rows = None
        settled = known and not recount and all(row.balanced for row in known.values())
        if settled and all(map(is_landing, commits)):
            rows = _extended(name, known, new, table.appended_counts(commits))
        if rows is None or sum(row.accepted + row.rejected for row in rows) != table.rows():
            removed = table.retired_counts(commits)
            counting = Counting(
                table.all_counts(),
                deliveries(table.commits),
                removed or {},
                complete,
                removed is not None,
            )
            rows = counting.rows(name, known, new)
    return [replace(row, versions={str(name): table.state}) for row in rows]


@dataclass(frozen=True)
class Counting:
    """All of a table counted: rows by subject and batch, every note that is still there."""

    found: Counts
    noted: Sequence[Delivery]
    removed: Mapping[Subject, int]
    complete: bool  # the log reaches back to the recorded version, or to the first commit
    removed_known: bool  # the files of deleted rows were still there to be counted

    def rows(self, name: TableName, known: Mapping[Subject, LedgerRow], new: Sequence[Delivery]) -> list[LedgerRow]:
        subjects = sorted(
            {*known, *self.found, *(each.subject for each in self.noted), *(each.subject for each in new)}
        )
        return [self._row(name, subject, known.get(subject), new) for subject in subjects]

    def _row(self, name: TableName, subject: Subject, before: LedgerRow | None, new: Sequence[Delivery]) -> LedgerRow:
        row = _delivered(before or LedgerRow(subject[0], str(name), subject[1]), subject, new)
        found = self.found.get(subject, {})
        noted: dict[str, int] = defaultdict(int)
        for each in self.noted:
            if each.subject == subject:
                noted[each.batch] += each.records
        earlier = row.delivered - sum(noted.values())
        retired = row.retired + self.removed.get(subject, 0)
        unverified = row.unverified
        if not self.complete:  # nobody knows what the batches before the log delivered: what is there counts
            there = sum(each.rows for batch, each in found.items() if batch not in noted)
            unverified, earlier = there - earlier, there
        if not self.removed_known:
            missing = row.delivered + unverified - sum(each.rows for each in found.values())
            retired = max(retired, missing)
        balance = weigh(noted, found, earlier=earlier, retired=retired)
        return replace(
            row,
            delivered=row.delivered + unverified - row.unverified,
            accepted=sum(each.accepted for each in found.values()),
            rejected=sum(each.rejected for each in found.values()),
            retired=retired,
            repeated=balance.repeated,
            unverified=unverified,
            balanced=balance.balanced and not row.gap and subject[0] != "unknown_origin",
            detail={**row.detail, "batches_off": list(balance.batches_off)},
        )


def _extended(
    name: TableName, known: Mapping[Subject, LedgerRow], new: Sequence[Delivery], counted: Counts | None
) -> list[LedgerRow] | None:
    """The rows before, and what landed since."""
    if counted is None:
        return None
    rows = []
    for subject in sorted({*known, *counted, *(each.subject for each in new)}):
        row = _delivered(known.get(subject) or LedgerRow(subject[0], str(name), subject[1]), subject, new)
        found = counted.get(subject, {})
        noted: dict[str, int] = defaultdict(int)
        for each in new:
            if each.subject == subject:
                noted[each.batch] += each.records
        balance = weigh(noted, found)
        rows.append(
            replace(
                row,
                accepted=row.accepted + sum(each.accepted for each in found.values()),
                rejected=row.rejected + sum(each.rejected for each in found.values()),
                repeated=balance.repeated,
                balanced=balance.balanced and not row.gap and subject[0] != "unknown_origin",
                detail={**row.detail, "batches_off": list(balance.batches_off)},
            )
        )
    return rows


def _delivered(row: LedgerRow, subject: Subject, new: Sequence[Delivery]) -> LedgerRow:
    mine = [each for each in new if each.subject == subject]
    ends, lost, gap = follow(row.detail.get("ends", {}), mine)
    detail = {**row.detail, "ends": ends}
    if subject[0] == "file":
        detail["contents"] = followed_contents(row.detail.get("contents", {}), mine)
    return replace(
        row,
        delivered=row.delivered + sum(each.records for each in mine),
        lost=row.lost + lost,
        gap=row.gap + gap,
        detail=detail,
    )
