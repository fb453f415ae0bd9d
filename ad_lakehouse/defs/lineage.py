"""Which input columns each column of a model is made from, out of its compiled SQL.

Belongs here: sqlglot's answer for our names of inputs (`"silver.impressions[-30..0]"`). Not here: dbt (prepare.py).
dagster-dbt's own lineage asks the database for columns of relations, which here exist only while a model is built.
"""

import logging
from collections.abc import Iterable, Mapping

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from ad_lakehouse.dbt_delta.inputs import parse_input_name

DIALECT = "duckdb"
LOGGER = logging.getLogger(__name__)
Origins = dict[str, tuple[tuple[str, str], ...]]


def column_lineage(name: str, sql: str, columns: Mapping[str, Iterable[str]]) -> Origins:
    """Each output column with the (table, column) pairs it is made from, in the query's order.

    `columns` has those of every input, by table. Empty when sqlglot cannot read the query: lineage is for people,
    and no reason to stop anything.
    """
    schema: dict[str, object] = {}
    for table, names in columns.items():
        layer, _, short = table.partition(".")
        schema.setdefault(layer, {})[short] = dict.fromkeys(names, "unknown")  # type: ignore[index]
    try:
        query = parse_one(sql, dialect=DIALECT).transform(_named_plainly)
        found = lineage(None, query, schema, dialect=DIALECT, validate_qualify_columns=False)
        return {column: _origins(node) for column, node in found.items()}
    except (SqlglotError, ValueError, KeyError, AttributeError) as error:
        LOGGER.warning("No column lineage of %s: %s", name, str(error).partition("\n")[0])
        return {}


def _named_plainly(node: exp.Expression) -> exp.Expression:
    """`"silver.impressions[-30..0]"` → `silver.impressions`, under the name the query knows it by."""
    dependency = parse_input_name(node.name) if isinstance(node, exp.Table) else None
    if dependency is None:
        return node
    layer, _, short = dependency.table.partition(".")
    return exp.table_(short, db=layer, alias=node.alias or short)


def _origins(node: Node) -> tuple[tuple[str, str], ...]:
    """The leaves: columns of input tables. Constants and generated rows have none."""
    found = set()
    for each in node.walk():
        table = each.source if not each.downstream else None
        if isinstance(table, exp.Table) and table.db:
            found.add((f"{table.db}.{table.name}", exp.to_column(each.name).name))
    return tuple(sorted(found))
