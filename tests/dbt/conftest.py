"""dbt writes beside the tests' lakes, never into the checkout; one folder for all, so that it parses once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ad_lakehouse.dbt_delta.run import environment


@pytest.fixture(scope="session", autouse=True)
def dbt_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dbt")
    with environment({"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}):
        yield folder
