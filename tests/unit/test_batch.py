"""Payloads become the column that Arrow itself would make of them."""

import pyarrow as pa
import pytest

from kafka_sinks.batch import as_bytes


@pytest.mark.parametrize(
    "values", [[], [b""], [b"a", b"", b"bcd"], [b"a", None, b""], [None], [b"\0\xff" * 5_000, b"x"]]
)
def test_payloads_become_the_same_column_as_by_arrow(values: list[bytes | None]) -> None:
    column = as_bytes(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.binary()))
