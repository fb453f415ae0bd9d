"""`python -m ad_lakehouse.dbt_spark.portability [PROJECT]`: names what is not portable, exits with 1 if anything is.

Belongs here: the command line. Not here: finding anything.
"""

import sys
import tempfile
from pathlib import Path

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_spark.portability.project import Place, Project
from ad_lakehouse.dbt_spark.portability.scan import Finding
from ad_lakehouse.errors import LakehouseError
from ad_lakehouse.settings import Settings

PLACES = 3  # told of one finding


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]).resolve() if arguments else project_dir()
    with tempfile.TemporaryDirectory() as lake:
        try:
            found = Project.compiled(Settings(lake=lake), folder, contracts=folder == project_dir()).findings()
        except LakehouseError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    for finding, places in sorted(found.items(), key=lambda each: str(each[1][0])):
        sys.stdout.write(f"{line(finding, places)}\n")
    return 1 if found else 0


def line(finding: Finding, places: list[Place]) -> str:
    """`dbt_project/models/silver/clicks.sql:12: a :: int: why. Instead: …`."""
    more = f" and {len(places) - PLACES} more files" if len(places) > PLACES else ""
    where = ", ".join(map(str, places[:PLACES])) + more
    return f"{where}: {finding.construct}: {finding.why}. Instead: {finding.instead}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
