"""The Dagster code location (workspace.yaml names this module). Importing it does nothing; Dagster calls `defs`."""

import dagster as dg

from ad_lakehouse.defs.location import code_location


@dg.definitions
def defs() -> dg.Definitions:
    return code_location()
