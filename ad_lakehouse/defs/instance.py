"""The Dagster instance of `ad-lakehouse ui`: its folder and its settings.

Belongs here: dagster.yaml. Not here: starting Dagster (cli.py). A production set-up writes its own (Postgres, a proxy).
"""

from pathlib import Path

SETTINGS = """\
# Written by ad-lakehouse; yours to change. https://docs.dagster.io/deployment/oss/dagster-yaml
nux:
  enabled: false  # no questions on the first visit
telemetry:
  enabled: false
python_logs:
  python_log_level: INFO  # each event of each step is in the UI; on the console they would be thousands of lines
freshness:
  enabled: true  # pipeline freshness is evaluated by the daemon
concurrency:
  runs:
    max_concurrent_runs: 3
    tag_concurrency_limits:
      - key: ad_lakehouse/job  # landing, building and maintenance side by side, but never two of a kind
        value: {applyLimitPerUniqueValue: true}
        limit: 1
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  max_runtime_seconds: 7200
retention:
  sensor:
    purge_after_days: {skipped: 1, success: 7, failure: 30}
  schedule:
    purge_after_days: 7
"""


def prepare_home(folder: Path) -> Path:
    """Makes the folder of DAGSTER_HOME, with settings unless it has some; returns it, absolute as Dagster wants."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dagster.yaml"
    if not path.exists():
        path.write_text(SETTINGS)
    return folder.resolve()
