"""A line of the ledger, and when it balances.

Belongs here: the row, the comparison of what was delivered with what is there; plain values in and out.
Not here: reading logs and tables (ledger_landing.py, ledger_models.py), the table itself (ledger.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = 20  # batches named in a row's detail


@dataclass(frozen=True)
class LedgerRow:
    """What went in and what is there, for one subject: a topic partition, a file, or a day of a table.

    difference = accepted + rejected + collapsed + retired − delivered.
    """

    kind: str  # topic_partition | file | split_file | unknown_origin | silver_day | credits_day
    table: str  # full name of the table that holds the rows
    subject: str  # `ad.clicks[2]`, a file's name, `2026-01-03`, `2026-01-03 last gross`
    delivered: int = 0  # records counted before they were decoded; for a model's table, rows of its input
    accepted: int = 0
    rejected: int = 0
    collapsed: int = 0  # natural duplicates inside accepted rows
    retired: int = 0  # rows that retention or erasure deleted
    repeated: int = 0  # rows whose origin stands there twice
    lost: int = 0  # offsets whose loss was accepted
    gap: int = 0  # offsets between two batches that no batch delivered
    unverified: int = 0  # rows taken as delivered because the log that tells is gone
    balanced: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)  # table → {id, version} that was read

    @property
    def difference(self) -> int:
        return self.accepted + self.rejected + self.collapsed + self.retired - self.delivered

    def __str__(self) -> str:
        """What is off, in words."""
        said = []
        if self.difference:
            said.append(f"{abs(self.difference)} {'too many' if self.difference > 0 else 'missing'}")
        if self.repeated:
            said.append(f"{self.repeated} twice")
        if self.gap:
            said.append(f"{self.gap} offsets never delivered")
        batches = self.detail.get("batches_off", ())
        if batches:
            said.append("in batch " + ", ".join(str(each["batch"]) for each in batches[:3]))
        return f"{self.table} {self.subject}: {', '.join(said) or 'balanced'}"


@dataclass(frozen=True)
class Found:
    """Rows of one batch and one subject that stand in a table."""

    accepted: int = 0
    rejected: int = 0
    distinct: int = 0  # origins among them

    @property
    def rows(self) -> int:
        return self.accepted + self.rejected


@dataclass(frozen=True)
class Balance:
    """Whether batches hold what was delivered, and which do not."""

    balanced: bool
    repeated: int
    batches_off: tuple[Mapping[str, Any], ...]


def weigh(
    delivered: Mapping[str, int],
    found: Mapping[str, Found],
    *,
    earlier: int = 0,
    retired: int = 0,
) -> Balance:
    """Compares batch by batch: a row that moved to another batch is off in two, though the sum is right.

    `earlier` rows were delivered by batches whose notes are gone: they are compared as one lump. `retired` rows were
    deleted on purpose: by so many may batches fall short, and none may have too many.
    """
    unknown = sum(each.rows for batch, each in found.items() if batch not in delivered)
    compared = {batch: (count, found.get(batch, Found()).rows) for batch, count in delivered.items()}
    if earlier or unknown:
        compared["earlier or unknown"] = (earlier, unknown)
    off = {batch: pair for batch, pair in compared.items() if pair[0] != pair[1]}
    short = sum(expected - there for expected, there in off.values() if there < expected)
    over = sum(there - expected for expected, there in off.values() if there > expected)
    repeated = sum(each.rows - each.distinct for each in found.values())
    balanced = not over and short == retired and not repeated
    shown = [
        {"batch": batch, "delivered": expected, "found": there} for batch, (expected, there) in sorted(off.items())
    ]
    return Balance(balanced, repeated, () if balanced else tuple(shown[:SHOWN]))


def as_json(value: Any) -> str:
    """The same text for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
