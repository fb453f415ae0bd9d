"""The check before publishing: blocking checks of a table's contract on the staged rows.

Belongs here: turning failed checks into a failed build. Not here: what is checked, and how (quality/).
"""

from pathlib import Path
from threading import Lock

import duckdb

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake import TableName
from ad_lakehouse.quality.audit import audit
from ad_lakehouse.quality.contracts import contract_path
from ad_lakehouse.quality.database import Database

ONE_AT_A_TIME = Lock()  # Soda keeps state for the whole process; dbt builds in several threads


class BlockedByCheck(LakehouseError):
    """Staged rows fail a blocking check: nothing was published, the last good version stays."""

    exit_code = 10


def check_staged(
    database: duckdb.DuckDBPyConnection | Database, relation: str, name: TableName, own_contracts: Path | None = None
) -> None:
    """Raises `BlockedByCheck` with each failed check and its value."""
    contract = contract_path(name, own_contracts)
    if contract is None:
        return
    with ONE_AT_A_TIME:
        outcomes = audit(database, relation, contract, blocking_only=True)
    failed = [each for each in outcomes if not each.passed]
    if failed:
        raise BlockedByCheck(
            f"{name}: {'; '.join(str(each) for each in failed)}. Nothing was published.",
            remedy=f"Correct the rows or the model; the contract is {contract}.",
        )
