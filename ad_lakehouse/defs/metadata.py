"""What a materialisation and a check say of themselves.

Belongs here: figures as Dagster metadata. Not here: getting the figures (figures.py), columns at definition time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from ad_lakehouse.defs.figures import Landed, TableFigures
from ad_lakehouse.defs.graph import ModelNode
from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.plot import rows_per_day
from ad_lakehouse.quality.audit import CheckOutcome

Metadata = dict[str, Any]


def table_metadata(table: TableFigures, descriptions: Mapping[str, str | None]) -> Metadata:
    """What is true of a table after any materialisation."""
    return {
        "dagster/row_count": table.rows,
        "dagster/uri": table.uri,
        "dagster/column_schema": column_schema(table.snapshot.columns, descriptions),
        "version": table.snapshot.version,
        "files": len(table.snapshot.files),
        "rows_per_day": dg.MetadataValue.md(rows_per_day(table.rows_per_day)),
    }


def landing_metadata(table: TableFigures, landed: Landed, source: str, seconds: float) -> Metadata:
    """What one landing did to one table."""
    metadata: Metadata = {
        "rows": landed.rows,
        "quarantined": landed.rejected.total(),
        "bytes": landed.size,
        "batches": landed.commits,
        "seconds": round(seconds, 3),
        "quarantined_in_all": table.rejected,
    }
    if landed.rejected:
        metadata["quarantined_by_reason"] = dg.MetadataValue.md(
            markdown_table(("reason", "rows"), landed.rejected.items())
        )
    if table.rejected:
        command = f"ad-lakehouse quarantine list --source {source}"
        metadata["quarantine"] = dg.MetadataValue.md(f"`{command}` shows what and why.")
    return metadata


def lag_metadata(topic: str, lag: Mapping[int, int]) -> Metadata:
    """How many offsets landing was behind the topic's end when it was done."""
    return {
        "topic": topic,
        "lag": sum(lag.values()),
        "lag_by_partition": dg.MetadataValue.md(markdown_table(("partition", "offsets"), sorted(lag.items()))),
    }


def build_metadata(figures: Mapping[str, Any], node: ModelNode) -> Metadata:
    """What one build did to one table; `days_rebuilt` is left out when it was all of them."""
    rebuilt = figures.get("days_rebuilt")
    return {
        "reason": figures.get("reason") or "",
        "rows": figures.get("rows", 0),
        "days_rebuilt": dg.MetadataValue.text("all") if rebuilt is None else rebuilt,
        "days_replaced": figures.get("days_replaced", 0),
        "bytes": figures.get("size", 0),
        "seconds": round(figures.get("seconds", 0.0), 3),
        "published": figures.get("version") is not None,
        **lineage_metadata(node),
    }


def lineage_metadata(node: ModelNode) -> Metadata:
    """Which columns of which tables each column is made from."""
    if not node.lineage:
        return {}
    deps = {
        column: [dg.TableColumnDep(asset_key=asset_key(table), column_name=name) for table, name in origins]
        for column, origins in node.lineage.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}


def column_schema(columns: Mapping[str, str], descriptions: Mapping[str, str | None]) -> dg.TableSchema:
    """Columns with their types, and what the docs say of them."""
    return dg.TableSchema(
        [
            dg.TableColumn(name=name, type=kind, description=descriptions.get(name) or None)
            for name, kind in columns.items()
        ]
    )


def outcome_metadata(outcome: CheckOutcome) -> Metadata:
    """Value, threshold, rows that fail and how to see all of them."""
    metadata: Metadata = {"outcome": "passed" if outcome.passed else outcome.severity, "threshold": outcome.threshold}
    if outcome.value is not None:
        metadata["value"] = outcome.value
    if outcome.detail:
        metadata["detail"] = dg.MetadataValue.json(json.loads(json.dumps(outcome.detail, default=str)))
    if outcome.sample:
        metadata["sample"] = dg.MetadataValue.json(json.loads(json.dumps(outcome.sample, default=str)))
    if outcome.failing_rows_sql:
        metadata["failing_rows"] = dg.MetadataValue.md(
            f"```sql\n{outcome.failing_rows_sql}\n```\nin `ad-lakehouse sql`"
        )
    return metadata


def check_result(key: dg.AssetKey, outcome: CheckOutcome, note: str = "") -> dg.AssetCheckResult:
    """One outcome as Dagster's; `note` says of what rows, when not the published ones."""
    severity = dg.AssetCheckSeverity.WARN if outcome.severity == "warn" else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=outcome.name,
        passed=outcome.passed,
        severity=severity,
        description=f"{outcome}{note}",
        metadata=outcome_metadata(outcome),
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
