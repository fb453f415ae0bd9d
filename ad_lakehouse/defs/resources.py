"""What steps and sensors are given: the settings, and what one run sees of the drop folder.

Belongs here: resources. Not here: settings themselves (settings.py). The resources are plain objects without Dagster
configuration, so that no setting, and no secret, stands in a run's config or in metadata.
"""

from functools import cached_property

import dagster as dg

from ad_lakehouse.files.drop import DropFolder, ListedOnce, drop_folder
from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake, settings.storage_options)


class DropOfRun:
    """The drop folder for all steps of one run, which list it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def folder(self) -> DropFolder | None:
        """None when none is set. Raises `ConfigurationError` when it is not there, to the step that asks."""
        if self._settings.drop_folder is None:
            return None
        return ListedOnce(drop_folder(self._settings.drop_folder, self._settings.drop_options))


@dg.resource(required_resource_keys={"settings"})
def drop_of_run(context: dg.InitResourceContext) -> DropOfRun:
    """Made anew for each run, by the process that runs its steps (location.py)."""
    return DropOfRun(context.resources.settings)
