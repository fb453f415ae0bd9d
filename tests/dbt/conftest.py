"""Fixtures of the tests of dbt on Delta.

dbt writes beside the tests' lakes, never into the checkout; one folder for all, so that it parses once.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from one_table import show
from small_lake import SmallLake

from ad_lakehouse.dbt_delta.run import environment


@pytest.fixture(scope="session", autouse=True)
def dbt_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dbt")
    with environment({"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}):
        yield folder


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    """A lake with impressions of three days."""
    small = SmallLake(tmp_path)
    show(small, 0, 1, 2)
    return small
