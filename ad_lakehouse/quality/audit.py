"""Runs a contract's checks on rows: staged ones before a commit, or a published table.

Belongs here: choosing the checks, their outcomes for everyone else. Not here: talking to Soda (soda_session.py),
what follows from a failure (dbt_delta stops the commit, defs reports to Dagster).
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ad_lakehouse.lake.views import quoted
from ad_lakehouse.quality.contracts import Contract, DeclaredCheck, load_contract
from ad_lakehouse.quality.database import Database, of
from ad_lakehouse.quality.samples import failing_rows, plain, sample
from ad_lakehouse.quality.soda_session import AuditError, verify

__all__ = ["AuditError", "CheckOutcome", "audit"]

TOLD_FIELDS = 6  # of a sample row in one line
RELATION_NAME = re.compile(r'^(?:"((?:[^"]|"")+)"|([^".\s]+))(?:\.(?=.)|$)')


@dataclass(frozen=True)
class CheckOutcome:
    """What one check found.

    `blocking` tells that this outcome, when not `passed`, must stop what comes next; `severity` is `error` or
    `warn`. `value` was compared with `threshold` (in words). `sample` shows up to five failing rows without
    personal fields, `failing_rows_sql` selects all of them.
    """

    name: str
    title: str
    passed: bool
    blocking: bool
    severity: str
    value: float | int | None = None
    threshold: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    sample: tuple[Mapping[str, Any], ...] = ()
    failing_rows_sql: str | None = None

    def __str__(self) -> str:
        """One line for a person."""
        if self.passed:
            return f"{self.title}: ok"
        value = f"{self.value:.6g}" if isinstance(self.value, float) else self.value
        text = f"{self.title}: {'no value' if value is None else value} ({self.threshold})"
        if not self.sample:
            return text
        shown = dict(list(self.sample[0].items())[:TOLD_FIELDS])
        return f"{text}, for example {json.dumps(shown, ensure_ascii=False)}"


def audit(
    database: duckdb.DuckDBPyConnection | Database,
    relation: str,
    contract: Path | Contract,
    *,
    blocking_only: bool = False,
    only: Collection[str] | None = None,
) -> list[CheckOutcome]:
    """Outcome of each check of `contract` on the rows of `relation`, in the file's order.

    `relation` is `table` or `schema.table` as `database` sees it, a cursor of DuckDB or another engine (quote a name
    with a dot in it); it need not be the contract's own table. `only` limits to those check names. A check without
    a value (an average of no rows) passes unless its attribute `when_empty` is `fail`.

    Raises `ConfigurationError` for a wrong contract, `AuditError` when a check could not run.
    """
    contract = contract if isinstance(contract, Contract) else load_contract(contract)
    checks = [
        check
        for check in contract.checks
        if (check.blocking or not blocking_only) and (only is None or check.name in only)
    ]
    if not checks:
        return []
    parts = relation_parts(relation)
    database = of(database)
    results = verify(database, parts, contract, checks)
    where = ".".join(quoted(part) for part in parts)
    return [_outcome(database, where, contract, check, results[check.path]) for check in checks]


def relation_parts(relation: str) -> list[str]:
    """`"a.b".c` → [`a.b`, `c`]."""
    parts, rest = [], relation
    while rest:
        match = RELATION_NAME.match(rest)
        if match is None:
            raise ValueError(f"{relation!r} is not [schema.]table")
        parts.append(match[1].replace('""', '"') if match[1] else match[2])
        rest = rest[match.end() :]
    if not parts or any("/" in part for part in parts):  # Soda parts a dataset's name by slashes
        raise ValueError(f"{relation!r} is not [schema.]table")
    return parts


def _outcome(database: Database, relation: str, contract: Contract, check: DeclaredCheck, result: Any) -> CheckOutcome:
    outcome = result.outcome.name
    detail: dict[str, Any] = {key: plain(value) for key, value in (result.diagnostic_metric_values or {}).items()}
    severity = check.severity
    if outcome == "NOT_EVALUATED":
        passed = check.body.attributes.when_empty == "pass"
        detail["evaluated"] = False
    else:
        passed = outcome == "PASSED"
        if outcome in ("WARN", "FAILED"):
            severity = "warn" if outcome == "WARN" else "error"
    if check.kind == "schema" and not passed:
        detail |= {
            "columns_missing": list(result.expected_column_names_not_actual),
            "columns_unexpected": list(result.actual_column_names_not_expected),
            "types_differ": [
                f"{each.column}: {each.actual_data_type} instead of {each.expected_data_type}"
                for each in result.column_data_type_mismatches
            ],
        }
    rows = None if passed else failing_rows(relation, contract, check, database.regex_matches)
    return CheckOutcome(
        name=check.name,
        title=check.title,
        passed=passed,
        blocking=check.blocking and severity == "error",
        severity=severity,
        value=plain(result.threshold_value),
        threshold=check.body.limit,
        detail=detail,
        sample=sample(database, rows, check.column) if rows else (),
        failing_rows_sql=rows,
    )
