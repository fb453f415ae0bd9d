"""The contracts: one Soda v4 file for each table, `contracts/<layer>/<table>.yml`.

Belongs here: finding and reading them, the stable name of each check. Not here: what a file may say
(contract_format.py), running checks (audit.py).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import TableName
from ad_lakehouse.quality.contract_format import COLUMN_CHECKS, TABLE_CHECKS, Check, Column, Document
from ad_lakehouse.yaml_places import Place, Places, read_yaml, validated

FOLDER = Path(__file__).parent / "contracts"
DATASET = re.compile(r"^lake/([a-z_]+)/([A-Za-z0-9_]+)$")


@dataclass(frozen=True)
class DeclaredCheck:
    """One check of a contract.

    `name` is stable and holds only letters, digits and `_` (Dagster's rule); `path` is Soda's name of it.
    """

    name: str
    title: str
    kind: str
    column: str | None
    path: str
    body: Check
    source: Mapping[str, Any]  # the body as written, for Soda

    @property
    def blocking(self) -> bool:
        return self.body.attributes.blocking

    @property
    def severity(self) -> str:
        """`error` or `warn`: what a failure is worth."""
        return "warn" if self.body.threshold.level == "warn" else "error"


@dataclass(frozen=True)
class Contract:
    """A contract that was read and found right."""

    path: Path
    table: TableName
    description: str
    filter: str | None
    columns: tuple[Column, ...]
    checks: tuple[DeclaredCheck, ...]


def contract_path(name: TableName, own: Path | None = None) -> Path | None:
    """The contract of a table: from the user's `own` folder when it is there, else ours, else None."""
    for folder in (own, FOLDER):
        if folder is not None:
            path = folder / name.layer / f"{name.table}.yml"
            if path.is_file():
                return path
    return None


def contract_paths(own: Path | None = None) -> dict[TableName, Path]:
    """The contract of each table that has one; a file of the user's `own` folder replaces ours."""
    found: dict[TableName, Path] = {}
    for folder in (FOLDER, own):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ConfigurationError(
                f"{folder}: no such folder of contracts.", remedy="Correct AD_LAKEHOUSE_CONTRACTS."
            )
        for path in sorted(folder.glob("*/*.yml")):
            found[TableName(path.parent.name, path.stem)] = path
    return dict(sorted(found.items()))


def load_contract(path: Path) -> Contract:
    """Reads and validates a contract.

    Raises `ConfigurationError` naming file, line, field, value and remedy. A check type that does not exist is
    one: Soda itself would report an error with an empty list of checks.
    """
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _load(path: Path, _changed: int) -> Contract:
    content, places = read_yaml(path)
    document = validated(Document, content, places, ())
    dataset = DATASET.match(document.dataset)
    expected = f"lake/{path.parent.name}/{path.stem}"
    if dataset is None or document.dataset != expected:
        raise places.error(
            ("dataset",), document.dataset, "does not fit the file's place", f"Write dataset: {expected}."
        )
    found: list[tuple[Place, DeclaredCheck]] = []
    for index, column in enumerate(document.columns):
        found += _checks(column.checks, COLUMN_CHECKS, column.name, places, ("columns", index, "checks"))
    found += _checks(document.checks, TABLE_CHECKS, None, places, ("checks",))
    _refuse_twins([(place, check.name) for place, check in found], places, "Give each its own `qualifier`.")
    columns = [(("columns", index), column.name) for index, column in enumerate(document.columns)]
    _refuse_twins(columns, places, "Name each column once.")
    checks = [check for _, check in found]
    return Contract(
        path, TableName(dataset[1], dataset[2]), document.description or "", document.filter,
        tuple(document.columns), tuple(checks),
    )  # fmt: skip


def declared_checks(contract: Contract | Path) -> list[DeclaredCheck]:
    """Every check of a contract, in the file's order."""
    return list((contract if isinstance(contract, Contract) else load_contract(contract)).checks)


def _checks(
    items: Sequence[Any],
    types: Mapping[str, type[Check]],
    column: str | None,
    places: Places,
    at: Place,
) -> Iterator[tuple[Place, DeclaredCheck]]:
    for index, item in enumerate(items):
        here = (*at, index)
        if not isinstance(item, dict) or len(item) != 1:
            raise places.error(here, item, "is not one check", "Write `- <check type>:` and its fields below it.")
        ((kind, written),) = item.items()
        if kind not in types:
            near = difflib.get_close_matches(str(kind), types, 1)
            scope = "a column" if column else "a table"
            raise places.error(
                here, kind, f"is no check type for {scope}",
                f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(types)}.",
            )  # fmt: skip
        body = validated(types[kind], written or {}, places, (*here, kind))
        ends = [kind, *([body.qualifier] if body.qualifier else [])]
        check = DeclaredCheck(
            name=re.sub(r"\W", "_", "__".join(["soda", *([column] if column else []), *ends]), flags=re.ASCII),
            title=body.name,
            kind=kind,
            column=column,
            path=".".join([*(["columns", column] if column else []), "checks", *ends]),
            body=body,
            source=written or {},
        )
        yield here, check


def _refuse_twins(named: Sequence[tuple[Place, str]], places: Places, remedy: str) -> None:
    seen: set[str] = set()
    for place, name in named:
        if name in seen:
            raise places.error(place, name, "is there twice", remedy)
        seen.add(name)
