"""Landing all that is new: every topic, every file of a folder.

Belongs here: the order of things and one report of them. Not here: how a topic (kafka_sinks) or a file (files/) lands.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.files.drop import DropFolder, drop_folder
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.report import FileReport
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.data_files import DAY
from ad_lakehouse.settings import Settings
from kafka_sinks.cluster import Cluster, TopicMissing
from kafka_sinks.commit import refused_as_write_failed
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import Source, bronze_schema, load_sources
from kafka_sinks.table_changed import accept_restore
from kafka_sinks.topic_run import LandReport


@dataclass
class LandedAll:
    """What one landing did: a report a topic and a file; `absent` says which topics are not there.

    `errors` of topics that could not be landed: they do not keep the others from landing.
    """

    topics: list[LandReport] = field(default_factory=list)
    files: list[FileReport] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    errors: list[LakehouseError] = field(default_factory=list)

    @property
    def records(self) -> int:
        return sum(each.records for each in self.topics) + sum(each.rows for each in self.files)

    @property
    def rejected(self) -> Counter[str]:
        every = [each.rejected for each in self.topics] + [each.rejected for each in self.files]
        return sum(every, Counter[str]())


def selected(sources: Mapping[str, Source], only: Collection[str] | None) -> dict[str, Source]:
    """All sources, or those named. Raises `ConfigurationError` for an unknown name."""
    unknown = sorted(set(only or ()) - set(sources))
    if unknown:
        raise ConfigurationError(
            f"No source is named {', '.join(unknown)}.", remedy=f"There are: {', '.join(sources)}."
        )
    return {name: source for name, source in sources.items() if not only or name in only}


def create_tables(lake: Lake, sources: Mapping[str, Source]) -> None:
    """The bronze table of each source, empty when new, so that models of sources without data build.

    Raises `WriteFailed`.
    """
    for source in sources.values():
        name, doc = TableName("bronze", source.name), source.schema.get("doc", "")
        with refused_as_write_failed(name):
            lake.create(name, bronze_schema(source), partition_by=[DAY], description=doc)


def land_all(
    lake: Lake,
    settings: Settings,
    *,
    folder: str | DropFolder | None = None,
    topics: bool = True,
    only: Collection[str] | None = None,
    accept_loss: bool = False,
    settle_seconds: float | None = None,
    on_topic: Callable[[LandReport], None] = lambda _: None,
    on_file: Callable[[FileReport], None] = lambda _: None,
) -> LandedAll:
    """Lands what is new. Dimensions come as files, so files go first. `settle_seconds`: default from the settings.

    A topic of a built-in source that the broker does not have is no error (not everyone has all four): it is named
    in `absent`; one that was asked for by name, or that the user's own YAML names, is. Raises what `land_files`
    raises, and `KafkaUnreachable`.
    """
    every = load_sources(settings.landing.sources)
    sources = selected(every, only)
    drop = None if folder is None else drop_folder(folder, settings.drop_options)
    present, absent = existing_topics(sources, settings) if topics else ([], [])
    if absent and only:
        raise absent[0]
    create_tables(lake, sources)
    for source in sources.values() if accept_loss else ():  # files are landed into the same tables
        accept_restore(lake, TableName("bronze", source.name))
    report = LandedAll(
        absent=[each.message for each in absent if not each.own], errors=[each for each in absent if each.own]
    )
    if drop is not None:
        settle = settings.landing.settle_seconds if settle_seconds is None else settle_seconds
        report.files = land_files(
            lake, every, drop, settings, only=only or None, settle_seconds=settle, progress=on_file
        )
    for source in present:
        try:
            report.topics.append(land_topic(lake, source, settings, accept_loss=accept_loss, progress=on_topic))
        except LakehouseError as error:
            report.errors.append(error)
    return report


def existing_topics(sources: Mapping[str, Source], settings: Settings) -> tuple[list[Source], list[TopicMissing]]:
    """The sources whose topic is on the broker, and an error for each other topic. Raises `KafkaUnreachable`.

    Asked before anything is written, so that an unreachable broker leaves the lake as it was.
    """
    cluster = Cluster(settings.kafka)
    present, absent = [], []
    for source in sources.values():
        if source.topic is None:
            continue
        try:
            cluster.topic(source.topic)
        except TopicMissing as error:
            error.own = source.own_topic
            absent.append(error)
        else:
            present.append(source)
    return present, absent
