"""The code location: the whole graph as a reviewed file, quick to load, and without touching anything but our files."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster_lake import PROJECT, DagsterLake

from ad_lakehouse.defs.graph import GraphNotPrepared
from ad_lakehouse.defs.location import code_location
from ad_lakehouse.defs.prepare import prepare
from ad_lakehouse.settings import Settings

pytestmark = pytest.mark.usefixtures("target")
ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "tests" / "snapshots" / "dagster_graph.txt"
SECONDS = 5.0  # beyond Dagster's own import
AUDITED = """
import sys, time
import dagster
begun = time.monotonic()
ours = {allowed}

def audit(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.posix_spawn", "os.fork")) and event != "socket.gethostname":
        raise RuntimeError(f"loading does {{event}} {{arguments}}")
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].startswith(ours):
        raise RuntimeError(f"loading opens {{arguments[0]}}")

sys.addaudithook(audit)
from ad_lakehouse.definitions import defs
found = defs() if not hasattr(defs, "get_repository_def") else defs
repository = found.get_repository_def()
seconds = time.monotonic() - begun
slow = [name for name in ("dbt", "soda_core", "polars", "sqlglot", "confluent_kafka") if name in sys.modules]
print(seconds, slow, len(repository.assets_defs_by_key))
"""


def test_loading_is_quick_and_reads_our_own_files_only(target: Path, tmp_path: Path) -> None:
    prepare()
    allowed = tuple(str(Path(each).resolve()) for each in (ROOT, sys.prefix, sys.base_prefix, target))
    allowed += ("/dev/null", "/usr/share/zoneinfo", "/usr/lib", "/lib")
    done = subprocess.run(
        [sys.executable, "-c", AUDITED.format(allowed=repr(allowed))],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        env={**os.environ, "AD_LAKEHOUSE_LAKE": str(tmp_path / "nowhere")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seconds, _, rest = done.stdout.partition(" ")
    assert rest.startswith("[] "), f"loading imports {rest}"
    assert float(seconds) < SECONDS
    assert not (tmp_path / "nowhere").exists()


def test_a_location_that_was_not_prepared_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    monkeypatch.delenv("DAGSTER_IS_DEV_CLI", raising=False)
    with pytest.raises(GraphNotPrepared, match=r"python -m ad_lakehouse\.defs\.prepare"):
        code_location(Settings(), PROJECT)


def test_under_dagster_dev_a_changed_project_is_prepared_on_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    assert code_location(Settings(), PROJECT).resolve_all_asset_specs()


def test_the_graph_is_the_reviewed_one() -> None:
    """After a wanted change: UPDATE_SNAPSHOTS=1 pytest tests/integration/test_dagster_location.py; review the diff."""
    prepare()
    drawn = drawing(code_location(Settings()))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(drawn)
    assert drawn == SNAPSHOT.read_text()


def test_no_secret_is_in_what_dagster_shows(tmp_path: Path) -> None:
    site = DagsterLake.at(tmp_path)
    secret = "xoxb-5ecret"  # noqa: S105
    shown = Settings(**{**site.settings.model_dump(), "alerts": {"slack_bot_token": secret, "slack_channel": "#a"}})
    prepare(PROJECT)
    location = code_location(shown, PROJECT)
    assert secret not in drawing(location)
    assert secret not in repr([spec.metadata for spec in location.resolve_all_asset_specs()])
    assert secret not in repr(location.get_repository_def().get_top_level_resources())


def drawing(location: dg.Definitions) -> str:
    """The graph as text: what a reviewer wants to see change."""
    lines = ["# Asset: group, owner, kinds, freshness (warn, fail); below it what it reads and its checks (! blocking)"]
    graph = location.resolve_asset_graph()
    for spec in sorted(location.resolve_all_asset_specs(), key=lambda each: each.key):
        policy = spec.freshness_policy
        windows = f"{policy.warn_window and policy.warn_window.to_timedelta()}, {policy.fail_window.to_timedelta()}"
        kinds = "+".join(sorted(spec.kinds))
        lines.append(f"{spec.key.to_user_string()}: {spec.group_name}, {', '.join(spec.owners)}, {kinds}, {windows}")
        lines += [f"    < {key.to_user_string()}" for key in sorted(dep.asset_key for dep in spec.deps)]
        checks = sorted(graph.get_check_keys_for_assets({spec.key}), key=lambda each: each.name)
        lines += [f"    {'!' if graph.get(key).blocking else '?'} {key.name}" for key in checks]
    repository = location.get_repository_def()
    lines.append("\n# Jobs")
    for job in sorted(repository.get_all_jobs(), key=lambda each: each.name):
        if not job.name.startswith("__"):
            lines.append(f"{job.name}: {', '.join(sorted(node.name for node in job.nodes))}")
    lines.append("\n# Sensors")
    for sensor in sorted(repository.sensor_defs, key=lambda each: each.name):
        jobs = ", ".join(target.job_name for target in sensor.targets) or "no job"
        lines.append(f"{sensor.name}: {jobs}, every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}")
    lines.append("\n# Schedules")
    lines += sorted(schedule.name for schedule in repository.schedule_defs) or ["none"]
    return "\n".join(lines) + "\n"
