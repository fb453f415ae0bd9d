"""What a text becomes depends on nothing but the text, and is what the rules of values.py say."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_sinks.decode.columns import Column
from kafka_sinks.decode.values import typed
from kafka_sinks.decode.verdicts import Verdicts
from kafka_sinks.schemas import TIMESTAMP, SchemaField

KINDS = [pa.int32(), pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.decimal128(9, 2), TIMESTAMP]
TEXTS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.floats().map(str),
    st.text("0123456789+-.eExX_:TZ ", max_size=12),
    st.sampled_from(["1.0", "1.5", "+7", "-0", "007", "0x1F", "1_000", " 1", "1e3", "inf", "NaN", "", "2026-03-01"]),
)


def values_of(kind: pa.DataType, texts: list[str | None]) -> list[Any]:
    field = SchemaField("f", kind, required=False, doc="")
    return typed(field, Column(pa.array(texts, pa.string())), Verdicts(len(texts))).to_pylist()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.none() | TEXTS, min_size=1, max_size=8))
def test_a_text_becomes_the_same_in_any_company(kind: pa.DataType, texts: list[str | None]) -> None:
    assert values_of(kind, texts) == [values_of(kind, [each])[0] for each in texts]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            pa.int64(),
            {
                "0": 0,
                "007": 7,
                "-5": -5,
                "+7": 7,
                "1.0": 1,
                "-2.00": -2,
                str(2**63 - 1): 2**63 - 1,
                str(-(2**63)): -(2**63),
            },
            ["1.5", "1e3", "0x1F", "1_000", " 1", "1 ", "", ".0", "--1", str(2**63), "9" * 30, "١"],
        ),
        (
            pa.int32(),
            {"2147483647": 2**31 - 1, "-2147483648": -(2**31), "1.0": 1},
            ["2147483648", "-2147483649", "2147483648.0", "1.5"],
        ),
        (
            pa.float64(),
            {"1.5": 1.5, "-1e3": -1000.0, ".5": 0.5, "7": 7.0},
            ["inf", "NaN", "0x1F", "1_000", " 1", "1e400", ""],
        ),
        (pa.decimal128(9, 2), {"1.25": Decimal("1.25"), "1.500": Decimal("1.50")}, ["1.255", "1e3", "99999999.00"]),
    ],
)
def test_what_is_a_number(kind: pa.DataType, good: dict[str, Any], bad: list[str]) -> None:
    assert values_of(kind, [*good, *bad]) == [*good.values(), *[None] * len(bad)]
