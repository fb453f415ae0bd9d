"""Finding what looks the same and means something else, on the syntax tree.

Belongs here: one finder for each such construct. Not here: why it is banned (bans.py), kinds of values (kinds.py).

The tree is the one of Spark's text, so what a dispatched macro wrote for Spark is judged as well.
"""

from collections.abc import Callable, Iterator

from sqlglot import exp

from ad_lakehouse.dbt_spark.portability import kinds
from ad_lakehouse.dbt_spark.portability.kinds import Values
from ad_lakehouse.dbt_spark.portability.texts import Pair

SHOWN = 90  # characters of an expression


def shown(node: exp.Expr) -> str:
    text = node.sql(dialect="spark").lower()
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def nodes(made: type[exp.Expr], wrong: Callable[..., bool]) -> Callable[[Pair, Values], Iterator[str]]:
    """Each node of a class that is wrong, told from the node and what is known of values."""

    def find(pair: Pair, values: Values) -> Iterator[str]:
        if pair.tree is not None:
            yield from (shown(node) for node in pair.tree.find_all(made) if wrong(node, values))

    return find


def _undecided(node: exp.Div, values: Values) -> bool:
    """Whether a quotient is a double on one engine only."""
    sides = [values.kind(node.this), values.kind(node.expression)]
    return kinds.DOUBLE not in sides and sides != [kinds.WHOLE, kinds.WHOLE]


def _may_be_zero(node: exp.Div, _: Values) -> bool:
    divisor = node.expression.unnest()
    if isinstance(divisor, exp.Nullif):
        return str(divisor.expression.name) != "0"
    return divisor.find(exp.Column) is not None or not any(
        float(each.name) for each in divisor.find_all(exp.Literal) if each.is_number
    )


def _cut(node: exp.Cast, values: Values) -> bool:
    target = kinds.kind_of_type(node.to)
    return target == kinds.WHOLE and values.kind(node.this) in (kinds.DECIMAL, kinds.DOUBLE)


def _engines_text(node: exp.Cast, values: Values) -> bool:
    written = (kinds.DOUBLE, kinds.MOMENT, kinds.LIST)
    return kinds.kind_of_type(node.to) == kinds.TEXT and values.kind(node.this) in written


def _digits(node: exp.Round, values: Values) -> bool:
    return node.args.get("decimals") is not None and values.kind(node.this) not in (kinds.DECIMAL, kinds.WHOLE)


def _open_start(node: exp.Substring, _: Values) -> bool:
    start = node.args.get("start")
    return not (isinstance(start, exp.Literal) and start.name.isdigit() and int(start.name) > 0)


def _of_dates(node: exp.Sub, values: Values) -> bool:
    return values.kind(node.left) == values.kind(node.right) == kinds.DATE


def _of_several(node: exp.Count, _: Values) -> bool:
    return isinstance(node.this, exp.Distinct) and len(node.this.expressions) > 1


plain_trim = nodes(exp.Trim, lambda node, _: node.args.get("expression") is None)
plain_lower = nodes(exp.Lower, lambda node, _: not isinstance(node.this, exp.Translate))
rounded_to_digits = nodes(exp.Round, _digits)
open_substr = nodes(exp.Substring, _open_start)
unrounded_power = nodes(exp.Pow, lambda node, _: node.find_ancestor(exp.Round) is None)
decimal_quotient = nodes(exp.Div, _undecided)
division_by_zero = nodes(exp.Div, _may_be_zero)
unrounded_cast = nodes(exp.Cast, _cut)
engine_text = nodes(exp.Cast, _engines_text)
date_difference = nodes(exp.Sub, _of_dates)
sum_of_doubles = nodes(exp.Sum, lambda node, values: values.kind(node.this) == kinds.DOUBLE)
count_of_several = nodes(exp.Count, _of_several)


def order_of_nulls(pair: Pair, values: Values) -> Iterator[str]:
    """ORDER BY of a window, an aggregate or a query, by something that may be null."""
    for each in pair.spark.unsaid_nulls:
        if values.may_be_null(each.this):
            yield f"order by {shown(each.this)}"


def backslash(pair: Pair, _: Values) -> Iterator[str]:
    for literal in pair.spark.literals:
        if "\\" in literal:
            yield literal if len(literal) <= SHOWN else f"{literal[: SHOWN - 1]}…"
