"""Soda, kept behind one function.

Belongs here: one contract verified by Soda on one relation. Not here: Soda's data source of an engine (database.py),
what an outcome means (audit.py).

Soda is imported by the first audit (about a second), without telemetry and without Soda Cloud. It logs much: what
it logs as an error becomes `AuditError`, the rest is dropped.
"""

import contextvars
import json
import logging
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.lake.views import quoted
from ad_lakehouse.quality.contract_format import RELATION
from ad_lakehouse.quality.contracts import Contract, DeclaredCheck
from ad_lakehouse.quality.database import Database

SOURCE = "lake"
# Soda's modules import each other in a circle, which two importing threads break; its YAML parser is one for all.
_one_at_a_time = threading.Lock()
_errors: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("soda_errors", default=None)


class AuditError(LakehouseError):
    """A contract could not be evaluated: the data is neither good nor bad, the check is broken."""

    exit_code = 13


def verify(
    database: Database, parts: list[str], contract: Contract, checks: Collection[DeclaredCheck]
) -> dict[str, Any]:
    """Soda's result of each check, by the check's path, on the relation with the name `parts`.

    One audit runs at a time; its queries use all of DuckDB's threads. Raises `AuditError`.
    """
    with _one_at_a_time:
        return _verify(database, parts, contract, checks)


def _verify(
    database: Database, parts: list[str], contract: Contract, checks: Collection[DeclaredCheck]
) -> dict[str, Any]:
    os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"  # read when Soda is imported
    from soda_core.common.logs import Logs
    from soda_core.common.metadata_types import ColumnMetadata, SqlDataType
    from soda_core.common.yaml import ContractYamlSource
    from soda_core.contracts.contract_verification import ContractVerificationSession

    source = database.soda_source(SOURCE)
    relation = ".".join(quoted(part) for part in parts)

    def columns(**_: Any) -> list[Any]:
        """Soda would ask information_schema, which mixes up tables of one name in several catalogs."""
        return [ColumnMetadata(name, SqlDataType(kind)) for name, kind in database.columns(relation)]

    source.get_schema_check_columns_metadata = columns
    with _soda_errors() as errors:
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


def _broken(contract: Contract, relation: str, errors: Collection[str]) -> AuditError:
    first = list(dict.fromkeys(" ".join(error.split()) for error in errors))[:2]  # the others follow from them
    told = "; ".join(error if len(error) < 500 else f"{error[:499]}…" for error in first)
    return AuditError(
        f"The contract of {contract.table} could not be evaluated on {relation}: {told}.",
        remedy=f"Correct {contract.path}, or the model that makes the table.",
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
