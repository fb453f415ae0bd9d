"""The wheel works outside the checkout: it carries schemas, sources, contracts and the dbt project."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from datetime import UTC, datetime
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `ad-lakehouse` of a wheel installed in an environment of its own (dependencies lent by ours)."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    # A path line lends the dependencies without our editable install, which is a .pth file of its own.
    Path(own, "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return folder / "env" / "bin" / "ad-lakehouse"


def run(command: Path, *arguments: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AD_LAKEHOUSE_")}
    done = subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_installed_wheel_lands_and_builds_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    record = {"event_ts": datetime.now(UTC).isoformat(), "creative_id": "c1", "user_id": "u1", "site": "News.example"}
    (drop / "today.jsonl").write_text(json.dumps(record) + "\n" + "{broken\n")
    where = subprocess.run(
        [installed.with_name("python"), "-c", "import ad_lakehouse; print(ad_lakehouse.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert str(CHECKOUT) not in where
    run(installed, "land", "--files", "drop", "--lake", "lake", folder=tmp_path)
    run(installed, "build", "--lake", "lake", folder=tmp_path)
    silver = run(
        installed, "sql", "--lake", "lake", "--format", "json", "select site from silver.impressions", folder=tmp_path
    )
    assert json.loads(silver) == {"site": "news.example"}
    rejected = run(
        installed, "sql", "--lake", "lake", "--format", "csv", "select _reason from quarantine", folder=tmp_path
    )
    assert rejected.split() == ["_reason", "invalid_json"]
