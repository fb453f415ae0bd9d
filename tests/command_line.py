"""The command line: in a process of its own, as a user runs it, or in this one where a test runs it many times.

Belongs here: running it. Not here: what it must say (tests/integration).
"""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from ad_lakehouse.cli import app
from ad_lakehouse.errors import LakehouseError


def cli(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `ad-lakehouse` in a folder; settings by their names without AD_LAKEHOUSE_."""
    return subprocess.run(
        [sys.executable, "-m", "ad_lakehouse", *arguments],
        cwd=folder,
        env=os.environ | {f"AD_LAKEHOUSE_{name}": value for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cli_here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, a second sooner; `main` is left out, which turns our errors into text and exit code."""
    named = {f"AD_LAKEHOUSE_{name}": value for name, value in environment.items()}
    with patch.dict(os.environ, named):
        done = CliRunner().invoke(app, arguments)
    code, told = done.exit_code, done.stderr
    if isinstance(done.exception, LakehouseError):
        code, told = done.exception.exit_code, told + str(done.exception)
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, code, done.stdout, told)
