"""What the Dagster instance knows: freshness states, latest check outcomes, latest runs.

Belongs here: every call of Dagster that is not public API, each behind a function that returns plain values and has a
contract test (tests/integration/test_dagster_triggers.py). Not here: what follows from the answers.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._time import get_current_datetime

from ad_lakehouse.alerts.conditions import FailedCheck, FailedRun
from ad_lakehouse.defs.keys import asset_key, table_name
from ad_lakehouse.lake.views import Snapshot

UNFINISHED = [
    DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]  # fmt: skip
FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]


def now() -> datetime:
    """Dagster's own clock, in UTC: where a test moves that, our windows move with it."""
    return get_current_datetime()


@dataclass(frozen=True)
class PipelineState:
    """Dagster's freshness state of one asset (PASS, WARN, FAIL, UNKNOWN), and whether it was ever materialised."""

    state: str
    materialised: bool


def pipeline_states(instance: DagsterInstance, keys: Collection[dg.AssetKey]) -> dict[str, PipelineState]:
    """The freshness state of each asset; UNKNOWN until the freshness daemon has looked at it."""
    records = instance.get_freshness_state_records(list(keys))
    materialised = instance.get_latest_materialization_events(keys)
    return {
        str(table_name(key)): PipelineState(
            records[key].freshness_state.value if key in records else "UNKNOWN", materialised.get(key) is not None
        )
        for key in keys
    }


def shown_version(instance: DagsterInstance, table: Snapshot) -> int:
    """The version of a table that its newest materialisation told of; -1 when there is none, or one yet to come.

    What landed since then is news, whoever landed it.
    """
    event = instance.get_latest_materialization_event(asset_key(table.name))
    materialised = event.asset_materialization if event else None
    told = materialised.metadata.get("version") if materialised else None
    version = told.value if told else None
    return version if isinstance(version, int) and version <= table.version else -1


def failed_checks(instance: DagsterInstance, keys: Collection[dg.AssetCheckKey]) -> list[FailedCheck]:
    """Checks whose newest completed evaluation failed; one that is only planned changes nothing."""
    records = instance.event_log_storage.get_asset_check_summary_records(list(keys))
    found = []
    for key in sorted(keys, key=str):
        record = records[key].last_completed_check_execution_record if key in records else None
        evaluation = record.evaluation if record else None
        if evaluation is not None and not evaluation.passed:
            severity = "warning" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error"
            text = evaluation.description or "It did not hold."
            found.append(FailedCheck(str(table_name(key.asset_key)), key.name, severity, text))  # type: ignore[arg-type]
    return found


def failed_runs(instance: DagsterInstance, jobs: Sequence[str]) -> list[FailedRun]:
    """Jobs whose newest finished run failed, with its first error."""
    found = []
    for job in jobs:
        records = instance.get_run_records(RunsFilter(job_name=job, statuses=FINISHED), limit=1)
        if records and records[0].dagster_run.status is DagsterRunStatus.FAILURE:
            run_id = records[0].dagster_run.run_id
            found.append(FailedRun(job, run_id, run_error(instance, run_id)))
    return found


def run_error(instance: DagsterInstance, run_id: str) -> str:
    """The first line of the first step that failed, else what the run says of itself."""
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        events = instance.get_records_for_run(run_id, of_type=kind, limit=1).records
        for record in events:
            event = record.event_log_entry.dagster_event
            data = event.event_specific_data if event else None
            error = getattr(data, "error", None)
            cause = error.cause if error is not None and error.cause else error
            text = cause.message if cause else (event.message if event else None)
            if text:
                return re.sub(r"^(\w+\.)+\w+: ", "", str(text)).strip()[:1000]  # without the exception's module
    return "It gave no reason."


def unfinished_since(instance: DagsterInstance, job: str) -> datetime | None:
    """When the newest unfinished run of a job last moved; None when there is none."""
    records = instance.get_run_records(RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    return records[0].update_timestamp.astimezone(UTC) if records else None
