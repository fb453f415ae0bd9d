"""What of a compiled pair is not portable.

Belongs here: putting bans, reviewed functions and types together into findings. Not here: where SQL comes from
(project.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.errors import SqlglotError

from ad_lakehouse.dbt_delta.inputs import DUCKDB, SPARK
from ad_lakehouse.dbt_spark.portability.bans import BANS, Ban
from ad_lakehouse.dbt_spark.portability.kinds import Columns, Values
from ad_lakehouse.dbt_spark.portability.meanings import shown
from ad_lakehouse.dbt_spark.portability.reviewed import FUNCTIONS, TYPES, TYPES_INSTEAD, type_name
from ad_lakehouse.dbt_spark.portability.texts import Pair, Text

NAMES = {DUCKDB: "DuckDB", SPARK: "Spark"}
TYPE = re.compile(r"[a-z]\w+( with time zone| \[ \]| < .+ >)?")  # a macro may give nothing else
EPHEMERAL = "__dbt__cte__"  # what dbt puts before the name of an ephemeral model
REVIEW = "a dispatched macro (macros/engine.sql), or add it to portability/reviewed.py with a test on both engines"


@dataclass(frozen=True)
class Finding:
    """A construct, and `model` when it is in an ephemeral model that the compiled one reads."""

    construct: str
    why: str
    instead: str
    model: str = ""


@dataclass(frozen=True)
class Written:
    """The functions and types that dispatched macros write for one engine."""

    functions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Known:
    """What the project says beside its SQL."""

    columns: Columns = field(default_factory=Columns)
    written: Mapping[str, Written] = field(default_factory=lambda: {DUCKDB: Written(), SPARK: Written()})


def findings(pair: Pair, known: Known, bans: Sequence[Ban] = BANS) -> list[Finding]:
    """Everything in one pair, each construct once."""
    try:
        values = Values(pair.tree, known.columns)
        banned = [Finding(construct, ban.why, ban.instead) for ban in bans for construct in ban.find(pair, values)]
        found = [*banned, *_functions(pair, known, banned), *_types(pair, known), *_untyped(pair)]
        if not found:
            found = [
                Finding(
                    text.sql.strip()[:60], f"not understood as SQL of {NAMES[text.engine]}", "another way to write it"
                )
                for text in pair.texts
                if text.tree is None
            ]
    except SqlglotError as error:
        found = [
            Finding(pair.spark.sql.strip()[:60], f"not SQL: {str(error).splitlines()[0]}", "another way to write it")
        ]
    return list(dict.fromkeys(found))


def _functions(pair: Pair, known: Known, banned: Sequence[Finding]) -> Iterator[Finding]:
    told = {each.construct for each in banned}
    for text, other in ((pair.duckdb, SPARK), (pair.spark, DUCKDB)):
        # A name that macros write for both engines need not mean the same on both.
        written = known.written[text.engine].functions - known.written[other].functions
        for name in sorted(set(text.calls) - written - set(FUNCTIONS)):
            if f"{name}(…)" not in told:
                yield Finding(f"{name}(…)", "not known to mean the same on both engines", REVIEW)


def _types(pair: Pair, known: Known) -> Iterator[Finding]:
    for text in pair.texts:
        for written in sorted(set(text.types) - known.written[text.engine].types):
            if type_name(written) not in TYPES:
                instead = TYPES_INSTEAD.get(written, f"one of {', '.join(TYPES)}")
                yield Finding(f"type {written}", f"not one type on both engines ({NAMES[text.engine]}'s text)", instead)


def _untyped(pair: Pair) -> Iterator[Finding]:
    """Columns of tables and ephemeral models whose type each engine would choose for itself."""
    tree = pair.spark.tree
    if pair.is_table and tree is not None:
        yield from _uncast(tree, "")
        for each in tree.ctes:
            if each.alias.startswith(EPHEMERAL):
                yield from _uncast(each.this, each.alias.removeprefix(EPHEMERAL))


def _uncast(query: exp.Expr, model: str) -> Iterator[Finding]:
    if isinstance(query, exp.SetOperation):
        yield from _uncast(query.left, model)
        yield from _uncast(query.right, model)
    elif isinstance(query, exp.Select):
        for each in query.selects:
            if not _is_typed(each):
                yield Finding(f"column {shown(each)}", "each engine gives it a type of its own",
                              "cast(… as …) around it, or the macro ratio", model)  # fmt: skip


def _is_typed(column: exp.Expr) -> bool:
    """Whether it is a cast, or the quotient of two doubles, which is one on both engines."""
    value = column.unalias()
    if isinstance(value, exp.Div):
        divisor = value.right.this if isinstance(value.right, exp.Nullif) else value.right
        return all(isinstance(each, exp.Cast) and each.to.is_type("double") for each in (value.left, divisor))
    return isinstance(value, exp.Cast)


def written_by(bodies: Mapping[str, Sequence[str]]) -> dict[str, Written]:
    """From the SQL of dispatched macros, by engine, with Jinja taken out."""
    return {engine: _written([Text(body, engine) for body in bodies.get(engine, ())]) for engine in (DUCKDB, SPARK)}


def _written(texts: Sequence[Text]) -> Written:
    alone = {each.plain for each in texts if TYPE.fullmatch(each.plain)}
    return Written(
        frozenset(name for each in texts for name in each.calls),
        frozenset(alone | {kind for each in texts for kind in each.types}),
    )
