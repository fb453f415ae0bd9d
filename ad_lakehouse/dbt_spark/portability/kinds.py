"""What is known of the values in a statement: their kind, and whether they may be null.

Belongs here: concluding it from the syntax tree and from what the project documents. Not here: what follows (bans.py).

Columns are known by name alone: a name that is documented with two kinds has none, and one that some test promises
never to be null counts as such behind an outer join, too.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.errors import SqlglotError

WHOLE = "whole"
DECIMAL = "decimal"
DOUBLE = "double"
TEXT = "text"
MOMENT = "moment"
DATE = "date"
FLAG = "flag"
LIST = "list"
UNKNOWN = ""

Type = exp.DataType.Type
OF_TYPE = {
    **dict.fromkeys(exp.DataType.INTEGER_TYPES, WHOLE),
    **dict.fromkeys(exp.DataType.TEXT_TYPES, TEXT),
    Type.FLOAT: DOUBLE,
    Type.DOUBLE: DOUBLE,
    Type.TIMESTAMP: MOMENT,
    Type.TIMESTAMPTZ: MOMENT,
    Type.TIMESTAMPNTZ: MOMENT,
    Type.DATE: DATE,
    Type.BOOLEAN: FLAG,
    Type.ARRAY: LIST,
}
ALWAYS = {
    exp.Div: DOUBLE,
    exp.Pow: DOUBLE,
    exp.Avg: DOUBLE,
    exp.Count: WHOLE,
    exp.RowNumber: WHOLE,
    exp.Length: WHOLE,
    exp.IntDiv: WHOLE,
    exp.Floor: WHOLE,
    exp.Ceil: WHOLE,
    exp.DPipe: TEXT,
    exp.Lower: TEXT,
    exp.Upper: TEXT,
    exp.Trim: TEXT,
}
OF_BOTH_SIDES = (exp.Add, exp.Sub, exp.Mul, exp.Mod, exp.DPipe)
# Values of the kind of what they are made of, not of anything that merely decides which.
OF_ALL = (exp.Coalesce, exp.Greatest, exp.Least)
OF_THIS = (
    exp.Paren, exp.Alias, exp.Neg, exp.Nullif, exp.Sum, exp.Min, exp.Max, exp.Abs, exp.Window,
    exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.Cast,
)  # fmt: skip
NEVER_NULL = (exp.Literal, exp.Boolean, exp.Is, exp.Count, exp.RowNumber)
NULL_BY_PARTS = (*OF_BOTH_SIDES, exp.Cast, exp.Paren, exp.Alias, exp.Neg, exp.Abs)


@dataclass(frozen=True)
class Columns:
    """What the project documents of columns: the kind by name, and the names that are never null."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()


def kind_of_type(kind: exp.DataType) -> str:
    if kind.is_type(Type.DECIMAL):
        scale = kind.expressions[1:2]
        return WHOLE if not scale or scale[0].name == "0" else DECIMAL
    return OF_TYPE.get(kind.this, UNKNOWN)


def kind_of_name(kind: str) -> str:
    """Of a type as it stands in YAML."""
    try:
        return kind_of_type(exp.DataType.build(kind, dialect="duckdb"))
    except SqlglotError:
        return UNKNOWN


def same_kind(kinds: Mapping[str, set[str]]) -> dict[str, str]:
    """Those with just one."""
    return {name: only for name, found in kinds.items() if len(found) == 1 for only in found}


class Values:
    """The values of one statement; without a tree only of what is documented."""

    def __init__(self, tree: exp.Expr | None, columns: Columns) -> None:
        self.named: dict[str, list[exp.Expr]] = {}
        for alias in tree.find_all(exp.Alias) if tree is not None else ():
            self.named.setdefault(alias.alias.lower(), []).append(alias.this)
        self.kinds = dict(columns.kinds)
        self.filled = set(columns.required)
        self._conclude(self._learn_kinds)
        self._conclude(self._learn_filled)

    @staticmethod
    def _conclude(learn: Callable[[], bool]) -> None:
        while learn():  # a name may stand for another one
            pass

    def _learn_kinds(self) -> bool:
        found = {
            name: {self.kind(each) for each in meanings}
            for name, meanings in self.named.items()
            if name not in self.kinds
        }
        learnt = {name: kind for name, kind in same_kind(found).items() if kind != UNKNOWN}
        self.kinds.update(learnt)
        return bool(learnt)

    def _learn_filled(self) -> bool:
        learnt = {
            name
            for name, meanings in self.named.items()
            if name not in self.filled and not any(map(self.may_be_null, meanings))
        }
        self.filled |= learnt
        return bool(learnt)

    def kind(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Column):
            return self.kinds.get(node.name.lower(), UNKNOWN)
        if isinstance(node, exp.Literal):
            return _kind_of_literal(node)
        if isinstance(node, exp.Cast):
            return kind_of_type(node.to)
        if isinstance(node, exp.Round):
            return WHOLE if node.args.get("decimals") is None else self.kind(node.this)
        for made, always in ALWAYS.items():
            if isinstance(node, made):
                return always
        kinds = [self.kind(each) for each in parts(node) if not isinstance(each, exp.Null)]
        if isinstance(node, exp.Sub) and kinds == [DATE, DATE]:
            return WHOLE
        return DATE if isinstance(node, exp.Add | exp.Sub) and kinds == [DATE, WHOLE] else _common(kinds)

    def may_be_null(self, node: exp.Expr) -> bool:
        if isinstance(node, exp.Column):
            return node.name.lower() not in self.filled
        if isinstance(node, NEVER_NULL):
            return False
        if isinstance(node, exp.Window):
            return not isinstance(node.this, NEVER_NULL)
        if isinstance(node, exp.Coalesce):
            return all(self.may_be_null(each) for each in parts(node))
        if isinstance(node, exp.Case) and node.args.get("default") is None:
            return True
        if isinstance(node, (exp.Case, *NULL_BY_PARTS)):
            return any(self.may_be_null(each) for each in parts(node))
        return True


def parts(node: exp.Expr) -> list[exp.Expr]:
    """The values of which one is the outcome, or that are computed with."""
    return [each for each in _parts(node) if each is not None]


def _parts(node: exp.Expr) -> Iterator[exp.Expr | None]:
    if isinstance(node, OF_BOTH_SIDES):
        yield from (node.left, node.right)
    elif isinstance(node, OF_ALL):
        yield from (node.this, *node.expressions)
    elif isinstance(node, exp.Case):
        yield from (*(each.args["true"] for each in node.args["ifs"]), node.args.get("default"))
    elif isinstance(node, OF_THIS):
        yield node.this


def _kind_of_literal(literal: exp.Literal) -> str:
    if literal.is_string:
        return TEXT
    if "e" in literal.name.lower():
        return DOUBLE
    return DECIMAL if "." in literal.name else WHOLE


def _common(kinds: list[str]) -> str:
    for widest in (DOUBLE, DECIMAL):
        if widest in kinds:
            return widest
    return kinds[0] if len(set(kinds)) == 1 else UNKNOWN
