"""The small project as a code location, for Dagster's daemon, which loads it in a process of its own."""

from pathlib import Path

import dagster as dg

from ad_lakehouse.defs.location import code_location


@dg.definitions
def defs() -> dg.Definitions:
    return code_location(project=Path(__file__).parent)
