"""The ledger as an asset, and as a blocking check of each table it speaks of.

Belongs here: the asset, one outcome a table. Not here: what balances (quality/ledger*.py).

One step writes the ledger and judges the landed tables, before anything is built from them; the step that builds
(models.py) writes it again and judges its own tables.
"""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from ad_lakehouse.defs.figures import table_figures
from ad_lakehouse.defs.freshness import pipeline_policy
from ad_lakehouse.defs.keys import LEDGER, asset_key, kinds, owners, table_name
from ad_lakehouse.defs.metadata import check_result, table_metadata
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.lake import TableName
from ad_lakehouse.quality.audit import CheckOutcome
from ad_lakehouse.quality.ledger import write_ledger
from ad_lakehouse.quality.ledger_rows import LedgerRow
from ad_lakehouse.settings import Settings

CHECK = "ledger"


def ledger_spec(name: TableName) -> dg.AssetCheckSpec:
    """The check that nothing of a table was lost or counted twice."""
    return dg.AssetCheckSpec(
        CHECK,
        asset=asset_key(name),
        description="what went in is there, once: accepted, rejected or counted as a duplicate",
        blocking=True,
    )


def ledger_asset(landed: Sequence[TableName]) -> dg.AssetsDefinition:
    """`quality.ledger`, with the check of each landed table."""

    @dg.multi_asset(
        name="ledger",
        specs=[
            dg.AssetSpec(
                asset_key(LEDGER),
                deps=[asset_key(each) for each in landed],
                description="For each topic partition, file and day: what was delivered, and what became of it.",
                group_name=LEDGER.layer,
                owners=owners(LEDGER),
                kinds=kinds(),
                freshness_policy=pipeline_policy(),
            )
        ],
        check_specs=[ledger_spec(each) for each in landed],
        can_subset=True,
        allow_arbitrary_check_specs=True,  # checks of other assets: they must run before anything reads those
    )
    def ledger(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        lake = lake_of(settings)
        report = write_ledger(lake)
        if context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=asset_key(LEDGER),
                metadata={
                    **table_metadata(table_figures(lake, LEDGER), {}),
                    "rows": len(report.rows),
                    "unbalanced": len(report.unbalanced),
                    "seconds": round(report.seconds, 3),
                },
            )
        yield from ledger_results(report.rows, context.selected_asset_check_keys)

    return ledger


def ledger_results(rows: Sequence[LedgerRow], checks: Iterable[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
    """The results of those `checks` that are the ledger's."""
    for key in checks:
        if key.name == CHECK:
            name = table_name(key.asset_key)
            yield check_result(key.asset_key, ledger_outcome(name, [row for row in rows if row.table == str(name)]))


def ledger_outcome(name: TableName, rows: Sequence[LedgerRow]) -> CheckOutcome:
    """One outcome of all of a table's subjects."""
    off = [row for row in rows if not row.balanced]
    return CheckOutcome(
        name=CHECK,
        title=f"{len(off)} of {len(rows)} subjects are off" if off else f"all {len(rows)} subjects balance",
        passed=not off,
        blocking=True,
        severity="error",
        value=len(off),
        threshold="must be 0",
        detail={
            "subjects": len(rows),
            "rows_off": sum(abs(row.difference) for row in off),
            "lost_with_consent": sum(row.lost for row in rows),
            "off": [str(row) for row in off[:20]],
        },
        sample=tuple({"where": str(row), **row.detail} for row in off[:5]),
        failing_rows_sql=f"select * from quality.ledger where \"table\" = '{name}' and not balanced" if off else None,
    )
