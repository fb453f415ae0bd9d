"""When Dagster cares for the tables: its own scheduler on a real instance, its clock moved.

Belongs here: the schedules. Not here: what a run of them does (test_maintenance.py).
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster_lake import PROJECT, DagsterLake

pytestmark = pytest.mark.usefixtures("target")
# Runs wait in the queue, and nobody takes them from it
QUEUED = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}
EVENING = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)


class Scheduler:
    """Dagster's scheduler, which a daemon runs every minute."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Any) -> None:
        self.instance, self.workspace = instance, workspace

    def started_at(self, moment: datetime) -> list[str]:
        """The jobs that it starts when it looks at this time."""
        before = {run.run_id for run in self.instance.get_runs()}
        with freeze_time(moment):
            list(launch_scheduled_runs(self.workspace, logging.getLogger(__name__), moment, {}))
        return sorted(run.job_name for run in self.instance.get_runs() if run.run_id not in before)


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    with dg.instance_for_test(overrides={"run_coordinator": QUEUED}) as instance:
        site = DagsterLake.at(tmp_path)
        monkeypatch.setenv("AD_LAKEHOUSE_LAKE", site.settings.lake)
        site.location()
        location = PythonFileTarget(
            python_file=str(PROJECT / "location.py"), attribute=None, working_directory=None, location_name="little"
        )
        with create_test_daemon_workspace_context(location, instance) as workspace:
            yield Scheduler(instance, workspace)


@pytest.mark.parametrize("nights", [1, 3, 20])
def test_nights_that_dagster_was_off_are_made_up_for_by_one_run_when_it_is_back(
    scheduler: Scheduler, nights: int
) -> None:
    assert scheduler.started_at(EVENING) == []
    assert scheduler.started_at(EVENING + timedelta(hours=1)) == ["compact"]
    back = EVENING + timedelta(days=nights)
    assert scheduler.started_at(back) == ["compact", "maintain"]
    assert scheduler.started_at(back + timedelta(minutes=1)) == []
    assert scheduler.started_at(datetime(back.year, back.month, back.day, 20, 24, tzinfo=UTC) + timedelta(hours=8)) == [
        "compact", "maintain"
    ]  # fmt: skip
