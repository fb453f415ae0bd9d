"""Runs a contract's checks on rows: staged ones before a commit, or a published table.

Belongs here: Soda, kept behind one function. Not here: what follows from a failure (dbt_delta stops the
commit, defs reports to Dagster).

Soda is imported by the first audit (about a second), without telemetry and without Soda Cloud. It logs much:
what it logs as an error becomes `AuditError`, the rest is dropped.
"""

import contextvars
import json
import logging
import os
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.views import quoted
from ad_lakehouse.quality.contract_format import RELATION
from ad_lakehouse.quality.contracts import Contract, DeclaredCheck, load_contract
from ad_lakehouse.quality.samples import failing_rows, plain, sample

SOURCE = "lake"
RELATION_NAME = re.compile(r'^(?:"((?:[^"]|"")+)"|([^".\s]+))(?:\.(?=.)|$)')
_one_at_a_time = threading.Lock()  # Soda's YAML parser is one object for all threads, and breaks when shared
_errors: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("soda_errors", default=None)


class AuditError(LakehouseError):
    """A contract could not be evaluated: the data is neither good nor bad, the check is broken."""

    exit_code = 13


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
        text = f"{self.title}: {self.value if self.value is not None else 'no value'} ({self.threshold})"
        return f"{text}, for example {json.dumps(self.sample[0], ensure_ascii=False)}" if self.sample else text


def audit(
    cursor: duckdb.DuckDBPyConnection,
    relation: str,
    contract: Path | Contract,
    *,
    blocking_only: bool = False,
    only: Collection[str] | None = None,
) -> list[CheckOutcome]:
    """Outcome of each check of `contract` on the rows of `relation`, in the file's order.

    `relation` is `table` or `schema.table` as `cursor` sees it (quote a name with a dot in it); it need not be
    the contract's own table. `only` limits to those check names. A check without a value (an average of no
    rows) passes unless its attribute `when_empty` is `fail`.

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
    results = _verify(cursor, parts, contract, checks)
    where = ".".join(quoted(part) for part in parts)
    return [_outcome(cursor, where, contract, check, results[check.path]) for check in checks]


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


def document(parts: list[str], contract: Contract, checks: Collection[DeclaredCheck]) -> str:
    """The contract for Soda: these checks only, on the relation instead of the contract's table."""
    relation = ".".join(quoted(part) for part in parts)
    chosen: dict[str | None, list[dict[str, Any]]] = {}
    for check in checks:
        body = {key: value for key, value in check.source.items() if key != "attributes"}
        if "query" in body:
            body["query"] = body["query"].replace(RELATION, relation)
        if check.kind == "schema":  # our defaults, not Soda's: a table may grow columns
            body = {"allow_extra_columns": True, "allow_other_column_order": True, **body}
        chosen.setdefault(check.column, []).append({check.kind: body})
    columns = []
    for column in contract.columns:
        entry: dict[str, Any] = column.model_dump(include={"name", "data_type", "optional"}, exclude_defaults=True)
        if column.name in chosen:
            entry["checks"] = chosen[column.name]
        columns.append(entry)
    whole: dict[str, Any] = {"dataset": "/".join([SOURCE, *(parts if len(parts) > 1 else ["main", *parts])])}
    if contract.filter:
        whole["filter"] = contract.filter
    whole["columns"] = columns
    if None in chosen:
        whole["checks"] = chosen[None]
    return json.dumps(whole, indent=1)  # JSON is YAML


def _verify(
    cursor: duckdb.DuckDBPyConnection, parts: list[str], contract: Contract, checks: Collection[DeclaredCheck]
) -> dict[str, Any]:
    """Soda's result by check path."""
    os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"  # read when Soda is imported
    from soda_core.common.logs import Logs
    from soda_core.common.metadata_types import ColumnMetadata, SqlDataType
    from soda_core.common.yaml import ContractYamlSource
    from soda_core.contracts.contract_verification import ContractVerificationSession
    from soda_duckdb.common.data_sources.duckdb_data_source import DuckDBDataSourceImpl

    source = DuckDBDataSourceImpl.from_existing_cursor(cursor, name=SOURCE)
    relation = ".".join(quoted(part) for part in parts)

    def columns(**_: Any) -> list[Any]:
        """Soda would ask information_schema, which mixes up tables of one name in several catalogs."""
        found = cursor.execute(f"describe {relation}").fetchall()
        return [ColumnMetadata(row[0], SqlDataType(row[1].partition("(")[0].lower())) for row in found]

    source.get_schema_check_columns_metadata = columns
    with _one_at_a_time, _soda_errors() as errors:
        logs = Logs()
        try:
            session = ContractVerificationSession.execute(
                [ContractYamlSource.from_str(document(parts, contract, checks))],
                data_source_impls=[source],
                logs=logs,
            )
        except Exception as error:  # Soda raises many kinds: each means that the check did not run
            raise _broken(contract, relation, [*errors, f"{type(error).__name__}: {error}"]) from error
        finally:
            logs.close()
    results = {
        result.check.relative_path: result
        for verification in session.contract_verification_results
        for result in verification.check_results
    }
    absent = [check.path for check in checks if check.path not in results]
    if errors or absent:
        raise _broken(contract, relation, errors or [f"{path} gave no result" for path in absent])
    return results


def _broken(contract: Contract, relation: str, errors: Collection[str]) -> AuditError:
    first = list(dict.fromkeys(" ".join(error.split()) for error in errors))[:2]  # the others follow from them
    told = "; ".join(error if len(error) < 500 else f"{error[:499]}…" for error in first)
    return AuditError(
        f"The contract of {contract.table} could not be evaluated on {relation}: {told}.",
        remedy=f"Correct {contract.path}, or the model that makes the table.",
    )


def _outcome(
    cursor: duckdb.DuckDBPyConnection, relation: str, contract: Contract, check: DeclaredCheck, result: Any
) -> CheckOutcome:
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
    rows = None if passed else failing_rows(relation, contract, check)
    return CheckOutcome(
        name=check.name,
        title=check.title,
        passed=passed,
        blocking=check.blocking and severity == "error",
        severity=severity,
        value=plain(result.threshold_value),
        threshold=check.body.limit,
        detail=detail,
        sample=sample(cursor, rows) if rows else (),
        failing_rows_sql=rows,
    )


class _ErrorCollector(logging.Handler):
    """Keeps what Soda logs as an error, for the audit of this thread."""

    def emit(self, record: logging.LogRecord) -> None:
        errors = _errors.get()
        if errors is not None and record.levelno >= logging.ERROR:
            errors.append(record.getMessage())


@contextmanager
def _soda_errors() -> Iterator[list[str]]:
    """Soda's logger goes to the collector and nowhere else."""
    logger = logging.getLogger("soda")
    if not any(isinstance(handler, _ErrorCollector) for handler in logger.handlers):
        logger.addHandler(_ErrorCollector(logging.ERROR))
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    errors: list[str] = []
    token = _errors.set(errors)
    try:
        yield errors
    finally:
        _errors.reset(token)
