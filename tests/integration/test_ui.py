"""`ad-lakehouse ui` as a user starts and ends it. Not here: what Dagster then does (test_dagster_*.py)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests
from command_line import cli

from ad_lakehouse.demo.broker import free_ports


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_the_ui_says_when_its_port_is_taken_and_ends_whole_with_its_command(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    own = {"AD_LAKEHOUSE_LAKE": str(tmp_path / "lake"), "DAGSTER_HOME": str(tmp_path / "dagster")}
    command = [sys.executable, "-m", "ad_lakehouse", "ui", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | own, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        second = cli(tmp_path, "ui", "--port", str(port), LAKE=own["AD_LAKEHOUSE_LAKE"])
        assert second.returncode == 2
        assert second.stderr.startswith(f"Port {port} of this machine cannot be used: Address already in use")

        dagsters = psutil.Process(process.pid).children(recursive=True)
        assert len(dagsters) >= 3, "webserver, daemon and code server"
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
        _, left = psutil.wait_procs(dagsters, 10)
        assert not left
    finally:
        process.kill()
