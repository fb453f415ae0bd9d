"""What has arrived and has not landed.

Belongs here: asking topics and the drop folder. Not here: what follows (triggers.py), landing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath

from ad_lakehouse.defs.figures import changed_version, version_of
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files.drop import Dropped, drop_folder
from ad_lakehouse.lake import TableName
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source, sources_of_file


def waiting_records(settings: Settings, sources: Mapping[str, Source]) -> dict[str, tuple[int, str]]:
    """For each source with records on its topic that have not landed: how many offsets, and the ends of its partitions.

    Nothing is told of a broker that is away: that is for the alerts. None wait where the service lands topics.
    """
    from kafka_sinks.cluster import KafkaUnreachable, TopicMissing
    from kafka_sinks.lag import topic_lag

    found: dict[str, tuple[int, str]] = {}
    if not settings.kafka.bootstrap_servers or settings.landing.topics == "service":
        return found
    for source in sources.values():
        if source.topic is None:
            continue
        try:
            lags = topic_lag(lake_of(settings), source, settings.kafka, times=False)
        except TopicMissing:
            continue
        except KafkaUnreachable:
            return {}
        if waiting := [each for each in lags if each.waiting]:
            ends = ", ".join(f"{each.partition}: {each.end}" for each in lags)
            found[source.name] = (sum(each.end - each.landed for each in waiting), ends)
    return found


def landed_by_service(settings: Settings, sources: Mapping[str, Source]) -> dict[str, int]:
    """For each source whose topic the service lands the newest version of its table that changed rows."""
    if settings.landing.topics != "service":
        return {}
    lake = lake_of(settings)
    names = {each.name: TableName("bronze", each.name) for each in sources.values() if each.topic is not None}
    found = {source: changed_version(lake, name, version_of(lake, name)) for source, name in names.items()}
    return {source: version for source, version in found.items() if version > 0}


def files_by_source(settings: Settings, sources: Mapping[str, Source], now: datetime) -> dict[str, str]:
    """For each source with files in the drop folder a digest that changes when one is added or changed.

    A file that has not settled yet has not arrived: landing would leave it, and nothing would change afterwards.
    """
    settled = now - timedelta(seconds=settings.landing.settle_seconds)
    lines: dict[str, list[str]] = {}
    try:
        files = dropped(settings)
    except ConfigurationError:  # a run of everything fails with it, which is told
        return {}
    for each in files:
        for source in sources_of_file(sources, PurePosixPath(each.name)) if each.modified <= settled else ():
            lines.setdefault(source.name, []).append(f"{each.name} {each.identity}")
    return {name: sha256("\n".join(found).encode()).hexdigest() for name, found in lines.items()}


def files_of_no_source(files: Sequence[Dropped], sources: Mapping[str, Source]) -> list[str]:
    """Files of the drop folder that no source takes."""
    return [each.name for each in files if not sources_of_file(sources, PurePosixPath(each.name))]


def broken_files(settings: Settings, files: Sequence[Dropped]) -> dict[str, str]:
    """Files of the drop folder that could not be landed as they are now, each with the reason."""
    from ad_lakehouse.files.files_table import read_rows

    identities = {each.name: each.identity for each in files}
    rows = read_rows(lake_of(settings), "state", ["broken"]) if identities else []
    return {row.path: row.reason for row in rows if identities.get(row.path) == row.identity}


def dropped(settings: Settings) -> list[Dropped]:
    """The files of the drop folder; none when none is set. Raises `ConfigurationError` when it cannot be looked at."""
    if settings.drop_folder is None:
        return []
    return list(drop_folder(settings.drop_folder, settings.drop_options).files())
