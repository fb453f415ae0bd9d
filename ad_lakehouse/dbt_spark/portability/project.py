"""The project's SQL: its models, its data tests and the checks that stop a build, compiled for both engines.

Belongs here: compiling, reading what the project documents, telling where a construct is written. Not here: judging.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ad_lakehouse.dbt_delta.inputs import DUCKDB, SPARK
from ad_lakehouse.dbt_delta.run import TARGET_OF, BuildFailed, invoke
from ad_lakehouse.dbt_spark.portability import kinds
from ad_lakehouse.dbt_spark.portability.kinds import Columns
from ad_lakehouse.dbt_spark.portability.scan import Finding, Known, findings, written_by
from ad_lakehouse.dbt_spark.portability.texts import Pair
from ad_lakehouse.quality.contract_format import RELATION, Expressed
from ad_lakehouse.quality.contracts import Contract, contract_paths, load_contract
from ad_lakehouse.settings import Settings

COMPILE = ("compile", "--no-populate-cache")
LAYERS = ("silver", "attribution", "marts")  # bronze is checked by DuckDB alone
DISPATCHED = re.compile(
    r"\{%-? *macro (default|spark)__\w+\(.*?\) *-?%\}(.*?)\{%-? *endmacro *-?%\}", re.DOTALL | re.IGNORECASE
)
STATEMENT = re.compile(r"\{[%#].*?[%#]\}", re.DOTALL)
EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
ENGINE_OF = {"default": DUCKDB, "spark": SPARK}


@dataclass(frozen=True)
class Piece:
    """One compiled text of the project and the file it is written in."""

    path: Path
    name: str
    pair: Pair


@dataclass(frozen=True)
class Place:
    """Where a finding is; `line` from 1, 0 when it is not known."""

    path: Path
    line: int = 0

    def __str__(self) -> str:
        near = self.path.relative_to(Path.cwd()) if self.path.is_relative_to(Path.cwd()) else self.path
        return f"{near}:{self.line}" if self.line else str(near)


class Sources:
    """The files of a project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def macros(self) -> dict[Path, str]:
        return {path: path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("macros/**/*.sql"))}

    def model(self, name: str) -> Path | None:
        return next(iter(self.folder.glob(f"models/**/{name}.sql")), None)

    def dispatched(self) -> dict[str, list[str]]:
        """The bodies of dispatched macros by engine, Jinja's expressions replaced by a name."""
        bodies: dict[str, list[str]] = {DUCKDB: [], SPARK: []}
        for text in self.macros.values():
            for engine, body in DISPATCHED.findall(text):
                bodies[ENGINE_OF[engine]].append(EXPRESSION.sub("x", STATEMENT.sub("", body)))
        return bodies

    def kinds(self) -> dict[str, str]:
        """The kind of each column that is documented with one type wherever it is."""
        found: dict[str, set[str]] = defaultdict(set)
        for path in self.folder.glob("models/**/*.yml"):
            for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
                for column in model.get("columns", []):
                    found[column["name"]].add(kinds.kind_of_name(column.get("data_type", "")))
        return kinds.same_kind(found)

    def place(self, path: Path, construct: str) -> Place:
        """The line of `path`, else of a macro, that has the construct as it is written; else the file alone."""
        sought = as_written(construct)
        for each, text in {path: path.read_text(encoding="utf-8"), **self.macros}.items():
            found = sought.search(text)
            if found:
                return Place(each, text.count("\n", 0, found.start()) + 1)
        return Place(path)


def as_written(construct: str) -> re.Pattern[str]:
    """`x :: int` with any space between the words."""
    if construct.endswith("(…)"):
        return re.compile(rf"\b{re.escape(construct.removesuffix('(…)'))}\s*\(", re.IGNORECASE)
    words = construct.removeprefix("type ").removeprefix("column ").split()
    anything = {"''": "'[^']*'", '""': '"[^"]*"'}
    return re.compile(r"\s*".join(anything.get(word, re.escape(word)) for word in words), re.IGNORECASE)


@dataclass(frozen=True)
class Project:
    """A compiled project, and what it says beside its SQL."""

    pieces: tuple[Piece, ...]
    known: Known
    sources: Sources

    @classmethod
    def compiled(cls, settings: Settings, folder: Path, *, contracts: bool = True) -> "Project":
        """With `contracts` also the built-in ones. Raises `BuildFailed` when dbt cannot compile the project."""
        sources = Sources(folder)
        nodes = {engine: compiled(settings, folder, TARGET_OF[engine]) for engine in (DUCKDB, SPARK)}
        declared = [load_contract(path) for path in contract_paths().values()] if contracts else []
        required = frozenset((*never_null(nodes[DUCKDB]), *never_missing(declared)))
        known = Known(Columns(sources.kinds(), required), written_by(sources.dispatched()))
        return cls((*pieces(nodes, folder), *checks(declared)), known, sources)

    def findings(self) -> dict[Finding, list[Place]]:
        """Each finding once, with all its places."""
        found: dict[Finding, list[Place]] = {}
        for piece in self.pieces:
            for finding in findings(piece.pair, self.known):
                path = self.sources.model(finding.model) or piece.path
                place = self.sources.place(path, finding.construct)
                if place not in found.setdefault(finding, []):
                    found[finding].append(place)
        return found


def compiled(settings: Settings, folder: Path, target: str) -> dict[str, Any]:
    """Models and data tests as dbt compiles them, by dbt's id. Raises `BuildFailed`."""
    results = invoke(settings, COMPILE, target=target, project=folder).results
    broken = [f"{each.node.name}: {each.message}" for each in results if each.status == "error"]
    if broken:
        raise BuildFailed("\n".join(broken))
    return {each.node.unique_id: each.node for each in results if each.node.resource_type in ("model", "test")}


def never_null(nodes: Mapping[str, Any]) -> Iterator[str]:
    """The columns with dbt's test not_null."""
    for node in nodes.values():
        told = getattr(node, "test_metadata", None)
        if told is not None and told.name == "not_null" and node.column_name:
            yield node.column_name


def pieces(nodes: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Piece]:
    for name, node in nodes[DUCKDB].items():
        pair = Pair.of(node.compiled_code, nodes[SPARK][name].compiled_code, is_table=node.resource_type == "model")
        yield Piece(folder / node.original_file_path, node.name, pair)


def never_missing(contracts: Iterable[Contract]) -> Iterator[str]:
    """The columns that a check promises to be there, or the build stops."""
    for contract in contracts:
        for check in contract.checks:
            if check.kind == "missing" and check.blocking and check.column and not check.body.filter:
                yield check.column


def checks(contracts: Iterable[Contract]) -> Iterator[Piece]:
    """The SQL of checks that stop a build."""
    for contract in contracts:
        if contract.table.layer in LAYERS:
            for name, sql in check_sql(contract):
                yield Piece(contract.path, name, Pair.of(sql, sql))


def check_sql(contract: Contract) -> Iterator[tuple[str, str]]:
    """Each blocking check's query, and its conditions as queries."""
    for check in contract.checks:
        if check.blocking:
            written = check.body
            if isinstance(written, Expressed) and written.query is not None:
                yield check.name, written.query.replace(RELATION, "relation")
            if isinstance(written, Expressed) and written.expression is not None:
                select = f"{written.expression} as value" if check.kind == "metric" else "1"
                where = "" if check.kind == "metric" else f" where {written.expression}"
                yield check.name, f"select {select} from relation{where}"
            for condition in (written.filter, contract.filter):
                if condition is not None:
                    yield check.name, f"select 1 from relation where {condition}"
