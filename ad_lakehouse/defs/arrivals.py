"""What has arrived and has not landed.

Belongs here: asking topics and the drop folder. Not here: what follows (triggers.py), landing.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath

from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source, sources_of_file


def waiting_records(settings: Settings, sources: Mapping[str, Source]) -> dict[str, tuple[int, str]]:
    """For each source with records on its topic that have not landed: how many offsets, and the ends of its partitions.

    Nothing is told of a broker that is away: that is for the alerts.
    """
    from kafka_sinks.cluster import KafkaUnreachable, TopicMissing
    from kafka_sinks.lag import topic_lag

    found: dict[str, tuple[int, str]] = {}
    if not settings.kafka.bootstrap_servers:
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


def files_by_source(settings: Settings, sources: Mapping[str, Source], now: datetime) -> dict[str, str]:
    """For each source with files in the drop folder a digest that changes when one is added or changed.

    A file that has not settled yet has not arrived: landing would leave it, and nothing would change afterwards.
    """
    from ad_lakehouse.files.landing import files_below

    folder, settled = settings.drop_folder, now.timestamp() - settings.landing.settle_seconds
    if folder is None or not folder.is_dir():
        return {}
    lines: dict[str, list[str]] = {}
    for path in files_below(folder):
        place, found = PurePosixPath(path.relative_to(folder).as_posix()), path.stat()
        for source in sources_of_file(sources, place) if found.st_mtime <= settled else ():
            lines.setdefault(source.name, []).append(f"{place} {found.st_size} {found.st_mtime_ns}")
    return {name: sha256("\n".join(found).encode()).hexdigest() for name, found in lines.items()}


def files_of_no_source(settings: Settings, sources: Mapping[str, Source]) -> list[str]:
    """Files of the drop folder that no source takes."""
    from ad_lakehouse.files.landing import files_below

    folder = settings.drop_folder
    if folder is None or not folder.is_dir():
        return []
    names = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    return [name for name in names if not sources_of_file(sources, PurePosixPath(name))]
