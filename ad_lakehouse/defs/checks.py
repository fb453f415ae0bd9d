"""Contract checks of a table as Dagster asset checks, one each.

Belongs here: their specs, running those that were asked for on a published table. Not here: the checks themselves
(quality/), running them before a commit (dbt_delta/audit.py).

Checks of landed tables are a step of their own after landing, which they never stop. Those of models belong to the
step that builds (models.py): there a blocking check has looked at the new rows before they were published.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb

from ad_lakehouse.defs.figures import table_figures
from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.metadata import check_result
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import connect, define_quarantine, define_view
from ad_lakehouse.quality.contracts import declared_checks
from ad_lakehouse.settings import Settings


def contract_specs(name: TableName, contract: Path) -> list[dg.AssetCheckSpec]:
    """One spec for each check of a contract."""
    return [
        dg.AssetCheckSpec(
            each.name,
            asset=asset_key(name),
            description=each.title,
            blocking=each.blocking,
            metadata={"threshold": each.body.limit, "contract": contract.name},
        )
        for each in declared_checks(contract)
    ]


def contract_checks(name: TableName, contract: Path) -> dg.AssetChecksDefinition:
    """The step that runs the contract of a landed table."""

    @dg.multi_asset_check(name=f"contract_of_{name.table}", specs=contract_specs(name, contract), can_subset=True)
    def check(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.name for key in context.selected_asset_check_keys}
        with published(lake_of(settings), name) as cursor:
            yield from contract_results(cursor, name, contract, wanted)

    return check


def landing_checks(contracts: Mapping[TableName, Path], tables: set[TableName]) -> list[dg.AssetChecksDefinition]:
    """The contracts of the landed `tables`."""
    return [contract_checks(name, path) for name, path in contracts.items() if name in tables and declared_checks(path)]


def contract_results(
    cursor: duckdb.DuckDBPyConnection, name: TableName, contract: Path, wanted: set[str]
) -> Iterator[dg.AssetCheckResult]:
    """The wanted checks on the table as `cursor` sees it."""
    from ad_lakehouse.quality.audit import audit

    for outcome in audit(cursor, str(name), contract, only=wanted):
        yield check_result(asset_key(name), outcome)


@contextmanager
def published(lake: Lake, *names: TableName) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees the published tables, and `quarantine` over those of them that were landed."""
    snapshots = [table_figures(lake, name).snapshot for name in names]
    with connect(lake) as connection:
        for snapshot in snapshots:
            define_view(connection, snapshot)
        define_quarantine(connection, snapshots)
        yield connection
