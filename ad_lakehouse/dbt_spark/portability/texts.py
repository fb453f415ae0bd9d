"""One SQL text of one engine, taken apart.

Belongs here: its tokens, the functions it calls, the types it writes, its syntax tree. Not here: judging it (scan.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

from sqlglot import Dialect, Token, TokenType, exp, parse
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError

from ad_lakehouse.dbt_delta.inputs import DUCKDB, SPARK

# Words that stand before a bracket and are no functions.
SYNTAX = frozenset({
    "all", "and", "any", "as", "between", "by", "case", "cast", "decimal", "distinct", "div", "else", "except",
    "exclude", "exists", "filter", "from", "group", "group by", "having", "in", "intersect", "is", "join", "like",
    "limit", "not", "on", "or", "order by", "over", "partition by", "qualify", "rename", "replace", "select", "then",
    "union", "using", "values", "when", "where", "with", "within",
})  # fmt: skip
# Functions that need no bracket.
BARE = frozenset({"current_date", "current_time", "current_timestamp", "current_user", "localtime", "localtimestamp"})
WORD = re.compile(r"[a-z_]\w*", re.IGNORECASE)


class SparkAsSet(Spark):
    """Spark with our setting doubleQuotedIdentifiers (agreement.py)."""

    class Tokenizer(Spark.Tokenizer):
        QUOTES: ClassVar[list[str | tuple[str, str]]] = ["'"]
        IDENTIFIERS: ClassVar[list[str | tuple[str, str]]] = ["`", '"']


class SparkNullsLast(SparkAsSet):
    """Reads what says nothing of nulls the other way round, and all else alike."""

    NULL_ORDERING = "nulls_are_last"


DIALECTS: Mapping[str, type[Dialect]] = {DUCKDB: DuckDB, SPARK: SparkAsSet}


@dataclass(frozen=True)
class Text:
    """The SQL that one engine runs."""

    sql: str
    engine: str

    @cached_property
    def tokens(self) -> list[Token]:
        """Raises `SqlglotError`."""
        return list(DIALECTS[self.engine]().tokenize(self.sql))

    @cached_property
    def plain(self) -> str:
        """The tokens in small letters, one space between them; texts stand as '' and quoted names as \"\"."""
        return " ".join(map(plain, self.tokens))

    @cached_property
    def calls(self) -> list[str]:
        """The functions as they are written, in small letters."""
        words = [plain(token) for token in self.tokens]
        return [word for at, word in enumerate(words) if _is_call(words, at)]

    @cached_property
    def types(self) -> list[str]:
        """The types as they are written, in casts and before literals: `decimal ( 18 , 9 )`."""
        return [*_cast_types(self.tokens), *_literal_types(self.tokens)]

    @cached_property
    def literals(self) -> list[str]:
        """The texts in quotes as they are written."""
        return [self.sql[each.start : each.end + 1] for each in self.tokens if each.token_type == TokenType.STRING]

    @cached_property
    def tree(self) -> exp.Query | None:
        """None when it is not understood."""
        return _parsed(self.sql, DIALECTS[self.engine])

    @cached_property
    def unsaid_nulls(self) -> list[exp.Ordered]:
        """Each ORDER BY that leaves open where nulls go, and that Spark and DuckDB complete differently.

        They agree on `desc`: nulls last. Only of Spark's text.
        """
        other = _parsed(self.sql, SparkNullsLast)
        if self.tree is None or other is None:
            return []
        both = zip(self.tree.find_all(exp.Ordered), other.find_all(exp.Ordered), strict=True)
        return [one for one, two in both if one.args.get("nulls_first") != two.args.get("nulls_first")]


@dataclass(frozen=True)
class Pair:
    """One thing compiled for both engines. `is_table`: its columns are stored, or read by models that store them."""

    duckdb: Text
    spark: Text
    is_table: bool = False

    @classmethod
    def of(cls, duckdb: str, spark: str, *, is_table: bool = False) -> "Pair":
        return cls(Text(duckdb, DUCKDB), Text(spark, SPARK), is_table)

    @property
    def texts(self) -> tuple[Text, Text]:
        return self.duckdb, self.spark

    @property
    def tree(self) -> exp.Query | None:
        """What both engines run, as Spark reads it."""
        return self.spark.tree or self.duckdb.tree


def plain(token: Token) -> str:
    if token.token_type == TokenType.STRING:
        return "''"
    return '""' if token.token_type == TokenType.IDENTIFIER else token.text.lower()


def _is_call(words: list[str], at: int) -> bool:
    word = words[at]
    if word in BARE:
        return True
    named = at > 0 and words[at - 1] in ("as", "with")  # a name with its columns: as t (a, b)
    bracket = at + 1 < len(words) and words[at + 1] == "("
    return bracket and not named and word not in SYNTAX and WORD.fullmatch(word) is not None


def _cast_types(tokens: list[Token]) -> Iterator[str]:
    """Of cast(… as type) and …::type."""
    words = [plain(token) for token in tokens]
    for at, word in enumerate(words):
        if word in ("cast", "try_cast") and words[at + 1 : at + 2] == ["("]:
            inside = list(_inside(words, at + 1))
            last = max((n for n, (each, depth) in enumerate(inside) if each == "as" and depth == 1), default=None)
            if last is not None:
                yield " ".join(each for each, _ in inside[last + 1 :])


def _inside(words: list[str], opening: int) -> Iterator[tuple[str, int]]:
    """The words of a pair of brackets, each with its depth."""
    depth = 0
    for word in words[opening:]:
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return
        yield word, depth


def _literal_types(tokens: list[Token]) -> Iterator[str]:
    """Of date '2026-07-01'."""
    for one, two in pairwise(tokens):
        if two.token_type == TokenType.STRING and re.fullmatch("(date|time|timestamp)\\w*", plain(one)):
            yield plain(one)


def _parsed(sql: str, dialect: type[Dialect]) -> exp.Query | None:
    try:
        statements = parse(sql, read=dialect)
    except SqlglotError:
        return None
    only = statements[0] if len(statements) == 1 else None
    return only if isinstance(only, exp.Query) else None
