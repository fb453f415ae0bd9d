"""Fixtures of the tests on Apache Spark, beside DuckDB on the same small lakes, and on an S3-compatible store.

What builds a lake by hand and what the models should give is that of tests/dbt. Run by `make test-engines`; where
Spark, the store or Trino can't be had their tests are skipped with the reason, in CI they fail.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "dbt"))

from s3_server import S3Server, StoreMissing
from small_lake import SmallLake

from ad_lakehouse.dbt_delta.run import environment
from ad_lakehouse.dbt_spark.artefacts import SparkUnavailable, require_spark

# A few rows a query: what costs time is compiling plans, and tasks without work.
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="session")
def store(unavailable: Callable[[str], None]) -> Iterator[S3Server]:
    """One real S3-compatible store for the whole session. Tests use folders of their own in its bucket `lake`."""
    try:
        server = S3Server()
    except StoreMissing as error:
        unavailable(str(error))
        return
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], None]) -> Iterator[None]:
    """Spark can be had; its session starts with the first build and serves all tests."""
    try:
        require_spark()
    except SparkUnavailable as error:
        unavailable(str(error))
    folder = tmp_path_factory.mktemp("dbt")
    with environment(
        {
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            "AD_LAKEHOUSE_TRANSFORM__TEMP_FOLDER": str(folder),
            "AD_LAKEHOUSE_SPARK__DRIVER_MEMORY": "2g",
            "AD_LAKEHOUSE_SPARK__CONF": json.dumps(SMALL),
        }
    ):
        yield
        from ad_lakehouse.dbt_spark.session import stop

        stop()


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    """An empty lake of the small project."""
    return SmallLake(tmp_path)
