"""How tables of the lake are called in Dagster, and who owns them.

Belongs here: names, groups, owners, kinds. Not here: what the assets do.
"""

import dagster as dg

from ad_lakehouse.lake import TableName

# The layer's owner unless the model's YAML says otherwise (`meta: {dagster: {owners: ["team:growth"]}}`).
OWNERS = {
    "bronze": "team:ingestion",
    "silver": "team:data_platform",
    "attribution": "team:measurement",
    "marts": "team:marketing_analytics",
    "quality": "team:data_platform",
}
LEDGER = TableName("quality", "ledger")


def asset_key(name: TableName | str) -> dg.AssetKey:
    """`bronze.impressions` → bronze/impressions."""
    return dg.AssetKey(str(name).split("."))


def table_name(key: dg.AssetKey) -> TableName:
    return TableName(*key.path)


def owners(name: TableName, own: str | None = None) -> list[str]:
    return [own or OWNERS[name.layer]]


def kinds(*more: str) -> set[str]:
    """Every table is a Delta table; Dagster shows three kinds at most."""
    return {"delta", *more}
