"""`ad-lakehouse schemas …`: our sources' schemas in a schema registry.

Not here: how it is done (kafka_sinks/schema_subjects.py).
"""

from typing import TYPE_CHECKING, Annotated

import typer

from ad_lakehouse.cli_options import console
from ad_lakehouse.settings import load_settings

if TYPE_CHECKING:
    from kafka_sinks.decode.registry_api import RegistryApi
    from kafka_sinks.sources import Source

schemas_app = typer.Typer(help="Schemas of our sources: compare with the registry, register.", no_args_is_help=True)
EveryOption = Annotated[
    bool, typer.Option("--all", help="Also sources whose topic holds JSON or CSV, as documentation")
]
SourceOption = Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated")]
LevelOption = Annotated[
    str | None,
    typer.Option(help="Level of every subject pushed; without it BACKWARD_TRANSITIVE for new ones, others keep theirs"),
]


@schemas_app.command("check")
def schemas_check(every: EveryOption = False, source: SourceOption = None) -> None:
    """Compare each source's schema with its subject, and change nothing.

    Exits with 0 when all are the same, 1 when something is to be pushed, 36 when a change is incompatible.
    """
    from ad_lakehouse import printing
    from kafka_sinks.schema_subjects import State, check, raise_if_incompatible

    api, sources = opened(every, source)
    found = [check(api, each) for each in sources]
    console.print(printing.subjects(found))
    raise_if_incompatible(found)
    if any(each.state in (State.NEW, State.COMPATIBLE) for each in found):
        console.print("To register them: ad-lakehouse schemas push")
        raise typer.Exit(1)


@schemas_app.command("push")
def schemas_push(every: EveryOption = False, source: SourceOption = None, compatibility: LevelOption = None) -> None:
    """Register each source's schema under <topic>-value, unless it is there already or incompatible.

    Exits with 36 when one is incompatible; the others are registered.
    """
    from ad_lakehouse import printing
    from kafka_sinks.schema_subjects import Compatibility, push, raise_if_incompatible

    if compatibility is not None and compatibility not in list(Compatibility):
        raise typer.BadParameter(f"--compatibility {compatibility}: say {', '.join(Compatibility)}")
    api, sources = opened(every, source)
    level = None if compatibility is None else Compatibility(compatibility)
    found = [push(api, each, level) for each in sources]
    console.print(printing.subjects(found))
    raise_if_incompatible(found)


def opened(every: bool, only: list[str] | None) -> "tuple[RegistryApi, list[Source]]":
    """The registry, and the sources that have a subject in it."""
    from kafka_sinks.schema_subjects import open_registry_api, with_subjects
    from kafka_sinks.sources import load_sources

    settings = load_settings()
    sources = load_sources(settings.landing.sources)
    for name in only or ():
        if name not in sources or not sources[name].topic:
            raise typer.BadParameter(f"--source {name}: no source of this name has a topic")
    chosen = [each for each in sources.values() if only is None or each.name in only]
    return open_registry_api(settings.kafka), with_subjects(chosen, every=every or only is not None)
