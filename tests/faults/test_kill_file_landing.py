"""kill -9 of a process that lands files: between the two tables of the mixed file, between a large file's commits.

Belongs here: a file landing in a process of its own that dies. Not here: sinks (test_kill_sink.py).
"""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from landing_kills import file_landing
from landing_topics import IMPRESSIONS, impression, rows

from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.sources import load_sources

CLICKS, CONVERSIONS = TableName("bronze", "clicks"), TableName("bronze", "conversions")


def land_and_die(lake: Lake, folder: Path, commits: int) -> None:
    """Lands the folder in another process, which dies right after so many commits."""
    landing = subprocess.run(file_landing(lake, folder, commits), check=False, timeout=60)
    assert landing.returncode == -signal.SIGKILL, "the kill did not happen"


@pytest.mark.parametrize("kills", [[1], [2, 2], [3, 1, 4]])
def test_the_mixed_file_survives_kills_between_its_commits(lake: Lake, tmp_path: Path, kills: list[int]) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    text = "event_ts,user_id,campaign_id,conversion_type\n" + "".join(
        f"2026-03-01T10:00:{i % 60:02d}Z,u{i},c1,{('click', 'signup', 'nonsense')[i % 3]}\n" for i in range(100)
    )
    (folder / "events.csv").write_text(text)
    os.utime(folder / "events.csv", (1_772_400_000, 1_772_400_000))  # 2026-03-01, the day of the events
    for commits in kills:
        land_and_die(lake, folder, commits)
    (report,) = land_files(lake, load_sources(), folder, Settings(landing=LandingSettings(max_batch_rows=17)))
    assert report.outcome == "landed"
    found = Counter(row for name in (CLICKS, CONVERSIONS) for (row,) in rows(lake, "_row", name))
    assert found == Counter(range(100))
    assert rows(lake, "count(*)", CONVERSIONS) == [(33,)]


def test_a_large_file_survives_kills_between_its_commits(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"\n".join(impression(i) for i in range(75)))
    for _ in range(3):
        land_and_die(lake, folder, 2)
    assert rows(lake, "count(*)") == [(60,)]
    (report,) = land_files(lake, load_sources(), folder, Settings())
    assert (report.outcome, report.rows) == ("landed", 15)
    assert rows(lake, "_row", IMPRESSIONS) == [(row,) for row in range(75)]
