"""What a contract file may say: Soda's v4 contract language, as far as it makes sense on staged rows.

Belongs here: fields, types and the rules between them. Not here: finding and reading files (contracts.py).

Two things are ours. `attributes.blocking: true` marks a check that stops a commit and everything downstream.
`{relation}` stands for the audited rows in a `query`, because the rows of a build are checked under a staged
name before they are published. Soda skips keys it does not know; here they are errors.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

Number = int | float
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
RELATION = "{relation}"


class Part(BaseModel):
    """A mapping of the file: fields it does not know are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(Part):
    """One lower and one upper bound."""

    greater_than: Number | None = None
    greater_than_or_equal: Number | None = None
    less_than: Number | None = None
    less_than_or_equal: Number | None = None


class Comparison(Part):
    """At most one comparison, and what it means to miss it."""

    level: Literal["fail", "warn"] = "fail"
    must_be: Number | None = None
    must_not_be: Number | None = None
    must_be_greater_than: Number | None = None
    must_be_greater_than_or_equal: Number | None = None
    must_be_less_than: Number | None = None
    must_be_less_than_or_equal: Number | None = None
    must_be_between: Range | None = None
    must_be_not_between: Range | None = None

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        given = sorted(field for field in self.model_fields_set if field.startswith("must_"))
        if len(given) > 1:  # Soda would leave such a check unevaluated for ever
            raise ValueError(f"a threshold has one comparison, not {len(given)}: {', '.join(given)}")
        return self

    def __str__(self) -> str:
        for field in sorted(self.model_fields_set):
            if field.startswith("must_"):
                value = getattr(self, field)
                if isinstance(value, Range):
                    value = " and ".join(
                        f"{bound.replace('_', ' ')} {limit}"
                        for bound, limit in value.model_dump(exclude_none=True).items()
                    )
                return f"{field.replace('_', ' ')} {value}"
        return ""


class Threshold(Comparison):
    """When a check passes; `additional` is a second comparison of the other level."""

    metric: Literal["count", "percent"] | None = None
    unit: Literal["minute", "hour", "day"] | None = None
    additional: Comparison | None = None

    @model_validator(mode="after")
    def _other_level(self) -> Self:
        if self.additional and (not str(self) or not str(self.additional) or self.additional.level == self.level):
            raise ValueError("an additional threshold needs a comparison in both, and another level")
        return self

    def __str__(self) -> str:
        text = super().__str__()
        if text and self.metric == "percent":
            text += " %"
        return f"{text}, {self.additional.level}: {self.additional}" if self.additional else text


class Format(Part):
    """A regular expression and its name."""

    name: str
    regex: str


class Attributes(Part):
    """What this product does with the check's outcome."""

    blocking: StrictBool = False
    when_empty: Literal["pass", "fail"] = "pass"
    owner: str | None = None


class Check(Part):
    """What every check has. `name` is the promise in plain words: alerts and reports show it."""

    default: ClassVar[str] = "must be 0"

    name: str = Field(min_length=3)
    qualifier: Identifier | None = None
    filter: str | None = None
    attributes: Attributes = Attributes()
    threshold: Threshold = Threshold()

    @model_validator(mode="after")
    def _blocking_fails(self) -> Self:
        if self.attributes.blocking and self.threshold.level == "warn" and not self.threshold.additional:
            raise ValueError("a blocking check cannot have level warn")
        return self

    @property
    def limit(self) -> str:
        """The threshold in words."""
        return str(self.threshold) or self.default


class Missing(Check):
    missing_values: list[int | str] = []
    missing_format: Format | None = None


class Invalid(Missing):
    valid_values: list[Number | str] = []
    invalid_values: list[Number | str] = []
    valid_format: Format | None = None
    invalid_format: Format | None = None
    valid_min: Number | None = None
    valid_max: Number | None = None
    valid_length: int | None = None
    valid_min_length: int | None = None
    valid_max_length: int | None = None

    @model_validator(mode="after")
    def _says_what_is_valid(self) -> Self:
        if not any("valid" in field for field in self.model_fields_set):
            raise ValueError("an invalid check says what is valid, for example valid_min")
        return self


class Duplicate(Check):
    pass


class Aggregate(Check):
    function: Literal["avg", "avg_length", "max", "max_length", "min", "min_length", "sum"]


class Comparing(Check):
    """A check that means nothing without a comparison."""

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not str(self.threshold):
            raise ValueError("threshold with a comparison is missing")
        return self


class ColumnsDuplicate(Check):
    columns: list[Identifier] = Field(min_length=1)


class Schema(Check):
    default: ClassVar[str] = "columns and types as declared"

    allow_extra_columns: StrictBool = True
    allow_other_column_order: StrictBool = True


class RowCount(Check):
    default: ClassVar[str] = "must be greater than 0"


class Freshness(Comparing):
    column: Identifier


class Expressed(Check):
    """An SQL expression over the rows, or a query of `{relation}`."""

    expression: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.expression is None) == (self.query is None):
            raise ValueError("either expression or query is needed")
        if self.query is not None and RELATION not in self.query:
            raise ValueError(f"query must read {RELATION}: rows are also checked before they are published")
        return self


class Metric(Expressed, Comparing):
    pass


class FailedRows(Expressed):
    @model_validator(mode="after")
    def _counts_queries(self) -> Self:
        if self.query is not None and self.threshold.metric == "percent":
            raise ValueError("metric percent needs an expression, not a query")
        return self


COLUMN_CHECKS: dict[str, type[Check]] = {
    "missing": Missing,
    "invalid": Invalid,
    "duplicate": Duplicate,
    "aggregate": Aggregate,
}
TABLE_CHECKS: dict[str, type[Check]] = {
    "schema": Schema,
    "row_count": RowCount,
    "duplicate": ColumnsDuplicate,
    "freshness": Freshness,
    "metric": Metric,
    "failed_rows": FailedRows,
}


class Column(Part):
    """A column; with `data_type` (DuckDB's name) the schema check compares it."""

    name: str = Field(min_length=1)
    data_type: str | None = None
    description: str | None = None
    optional: StrictBool = False
    checks: list[Any] = []


class Document(Part):
    """A contract file. Checks are validated one by one (contracts.py), each by its type."""

    dataset: str
    description: str | None = None
    filter: str | None = None
    columns: list[Column]
    checks: list[Any] = []
