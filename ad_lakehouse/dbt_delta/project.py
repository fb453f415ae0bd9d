"""Where the dbt project is, where dbt may write, and what a run tells the plugin that dbt creates.

Belongs here: paths and names of variables. Not here: running dbt (run.py).
"""

import os
import tempfile
from pathlib import Path

import ad_lakehouse
from ad_lakehouse.settings import PREFIX

REBUILD_DAYS = f"{PREFIX}REBUILD_DAYS"  # 2026-07-01..2026-07-03: these days are rebuilt in any case

CODES = f"{PREFIX}CODES"  # JSON: table → engine → hash of its code as compiled for that engine


def project_dir() -> Path:
    """The folder of dbt_project.yml: that of the checkout, else the copy inside the installed package."""
    package = Path(ad_lakehouse.__file__).parent
    checkout = package.parent / "dbt_project"
    return checkout if (checkout / "dbt_project.yml").exists() else package / "_dbt_project"


def target_folder(project: Path) -> Path:
    """Where dbt writes what it compiles: `DBT_TARGET_PATH`, else in the project, else in the temporary folder.

    Each target gets a folder of its own inside, so that a build by hand and a scheduled one do not share files.
    """
    if named := os.environ.get("DBT_TARGET_PATH"):
        return Path(named)
    if os.access(project, os.W_OK) and not project.name.startswith("_"):
        return project / "target"
    return Path(tempfile.gettempdir()) / f"ad-lakehouse-dbt-{os.getuid()}"
