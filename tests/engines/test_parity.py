"""The real models on Spark and on DuckDB: every table equal row for row, and its column types, however it was built."""

from pathlib import Path
from random import Random

import pytest
from bronze_lake import MODELS, BronzeLake, Traffic

from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog

pytestmark = pytest.mark.usefixtures("spark")

SOURCES = ("impressions", "clicks", "conversions", "bid_requests")
SEED = 11


def types(lake: BronzeLake, name: str, dev: str | None = None) -> list[tuple[str, str]]:
    fields = lake.lake.open(TableName.parse(name), dev=dev).schema().fields
    return [(field.name, str(field.type)) for field in fields]


def assert_equal_to_duckdb_from_nothing(lake: BronzeLake) -> None:
    user = lake.build_aside()
    different = {name: rows[:2] for name in MODELS if (rows := lake.differences(name, user))}
    assert different == {}
    assert {name: types(lake, name) for name in MODELS} == {name: types(lake, name, user) for name in MODELS}
    assert all(lake.rows(name) for name in MODELS)  # nothing equals nothing


def engine_of(lake: BronzeLake, name: str) -> str:
    table = TableName.parse(name)
    note = TableLog(lake.lake, table).recorded_build(lake.lake.open(table).version()) or {}
    return str(note["engine"])


@pytest.mark.timeout(1200)
def test_models_are_equal_whichever_engine_builds_them_from_nothing_or_goes_on(tmp_path: Path) -> None:
    """Spark from nothing; late events, by Spark; a changed campaign, by DuckDB; late events again, by Spark."""
    print(f"seed {SEED}")  # noqa: T201 pytest shows it when the test fails
    lake, traffic, random = BronzeLake(tmp_path), Traffic(SEED), Random(SEED)
    dimensions = traffic.dimensions()
    for table, rows in dimensions.items():
        lake.land(table, rows)
    for source in SOURCES:
        lake.land(source, traffic.events(source, 60))
        lake.land(source, traffic.again(lake.landed[source], 6))
    lake.land("clicks", traffic.at_the_edges(lake.landed["conversions"][:10]))
    lake.land("conversions", traffic.refunds(lake.landed["conversions"]))
    lake.build(target="spark")
    assert {engine_of(lake, name) for name in MODELS} == {"spark"}
    assert_equal_to_duckdb_from_nothing(lake)

    for target in ("spark", "prod", "spark"):
        for source in random.sample(SOURCES, 2):
            lake.land(source, traffic.events(source, random.choice([1, 5])))
            lake.land(source, traffic.again(lake.landed[source], 2))
        if target == "prod":
            lake.land("campaigns", random.sample(dimensions["campaigns"], 1))
        before = lake.versions()
        report = lake.build(target=target)
        rebuilt = {each.name: each.figures["days_rebuilt"] for each in report.results}
        partitioned = [name for name in MODELS if lake.lake.open(TableName.parse(name)).metadata().partition_columns]
        assert any(rebuilt[name] not in (0, None) for name in partitioned), "something was incremental"
        if target == "spark":
            assert None not in {rebuilt[name] for name in partitioned}, "Spark goes on where it or DuckDB stopped"
        for name in partitioned:
            assert lake.days_committed(name, before[name]) == lake.days_differing(name, before[name]), name
        assert_equal_to_duckdb_from_nothing(lake)

    after = lake.versions()
    for target in ("prod", "spark"):
        lake.build(target=target)
        assert lake.versions() == after, f"{target} finds nothing to do after Spark"
