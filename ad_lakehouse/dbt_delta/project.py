"""Where the dbt project is, and where dbt may write.

Belongs here: paths. Not here: running dbt (run.py).
"""

import os
import tempfile
from pathlib import Path

import ad_lakehouse


def project_dir() -> Path:
    """The folder of dbt_project.yml: that of the checkout, else the copy inside the installed package."""
    package = Path(ad_lakehouse.__file__).parent
    checkout = package.parent / "dbt_project"
    return checkout if (checkout / "dbt_project.yml").exists() else package / "_dbt_project"


def writable_folders(project: Path) -> dict[str, str]:
    """Environment variables for dbt's target and log folders when it cannot write into the project."""
    if os.access(project, os.W_OK):
        return {}
    folder = Path(tempfile.gettempdir()) / f"ad-lakehouse-dbt-{os.getuid()}"
    wanted = {"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}
    return {name: value for name, value in wanted.items() if name not in os.environ}
