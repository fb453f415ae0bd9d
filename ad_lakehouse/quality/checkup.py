"""Every check of every table of a lake, in one go: the contracts and the ledger.

Belongs here: going through the tables. Not here: the checks (audit.py, ledger.py), Dagster's way (defs/checks.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import connect, define_views
from ad_lakehouse.quality.audit import CheckOutcome, audit
from ad_lakehouse.quality.contracts import contract_paths
from ad_lakehouse.quality.ledger import LEDGER, ledger_outcomes, write_ledger
from ad_lakehouse.settings import PREFIX


@dataclass(frozen=True)
class Checked:
    """One check of one table."""

    table: TableName
    outcome: CheckOutcome


def check_lake(
    lake: Lake, own_contracts: Path | None = None, progress: Callable[[TableName], None] = lambda _: None
) -> list[Checked]:
    """Runs every contract on its published table, and the ledger. Tables that are not there are left out.

    Raises `ConfigurationError` for a lake without tables and for a wrong contract, `AuditError` when a check could not
    run.
    """
    if not lake.tables():
        raise ConfigurationError(
            f"There is no table in {lake.root}, so nothing can be checked.",
            remedy=f"Name the lake by {PREFIX}LAKE, or land into it first.",
        )
    ledger = write_ledger(lake)
    found: list[Checked] = []
    with connect(lake) as connection:
        there = define_views(connection, lake)
        for name, path in sorted(contract_paths(own_contracts).items()):
            if name in there:
                progress(name)
                found += [Checked(name, outcome) for outcome in audit(connection, str(name), path)]
    return found + [Checked(LEDGER, outcome) for outcome in ledger_outcomes(ledger.rows)]
