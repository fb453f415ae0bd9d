"""Which differences between a registered schema and ours are named."""

import json
from typing import Any

import pytest

from kafka_sinks.schema_subjects import differences

A = {"name": "a", "type": "string", "doc": "A."}
B = {"name": "b", "type": ["null", "long"], "default": None}


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "namespace": "n", "fields": list(fields), **more}


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        (record(A), record(A, B), ["b: added, with a default"]),
        (record(A), record(A, {"name": "c", "type": "int"}), ["c: added, without default"]),
        (record(A, B), record(B), ["a: removed"]),
        (record(A), record({**A, "type": "long"}), ['a: type "string" → "long"']),
        (record(A), record({**A, "default": "é"}), ['a: default none → "é"']),
        (record(B), record({"name": "b", "type": ["null", "long"]}), ["b: default none → none"]),
        (record(A), record({**A, "aliases": ["z"]}), ['a: aliases none → ["z"]']),
        (record(A), record(A, name="S", namespace=None), ['name: "R" → "S"', 'namespace: "n" → none']),
        (record(A), record({**A, "doc": "B."}), ["descriptions or the order of fields only"]),
        (record(A, B), record(B, A), ["descriptions or the order of fields only"]),
        ("string", record(A), ["what is registered is no Avro record"]),
        ({"type": "enum", "name": "E", "symbols": []}, record(A), ["what is registered is no Avro record"]),
    ],
)
def test_each_difference_is_named(theirs: Any, ours: dict[str, Any], told: list[str]) -> None:
    assert list(differences(json.dumps(theirs), ours)) == told


def test_another_kind_of_schema_is_told() -> None:
    assert differences('syntax = "proto3";', record(A)) == ("what is registered is no Avro record",)
