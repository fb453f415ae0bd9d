"""The command line as a user runs it: in a process of its own.

Belongs here: running it. Not here: what it must say (tests/integration).
"""

import os
import subprocess
import sys
from pathlib import Path


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
