"""What steps and sensors are given: the settings.

Belongs here: resources. Not here: settings themselves (settings.py). The resource is a plain object without Dagster
configuration, so that no setting, and no secret, stands in a run's config or in metadata.
"""

from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import Settings


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake, settings.storage_options)
