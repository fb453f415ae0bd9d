"""Fixtures of the tests on a real Dagster.

Not here: the code location that they run on (dagster_lake.py), fixtures that all tests share (tests/conftest.py).
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_lake import target_in


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where dbt's and the graph's files go; one folder for all modules, since preparing the graph costs seconds."""
    folder = tmp_path_factory.getbasetemp() / "dagster_target"
    with target_in(folder):
        yield folder


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A real Dagster instance, its storage in memory."""
    with dg.DagsterInstance.ephemeral() as found:
        yield found
