"""What all commands share: the console, the option --lake, settings and lake.

Belongs here: what more than one module of the command line needs. Not here: any command.
"""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ad_lakehouse.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from ad_lakehouse.lake import Lake

console = Console(width=None if sys.stdout.isatty() else 160)  # a log or a pipe has no width of its own
LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help=f"Folder or URL of the lake [env {PREFIX}LAKE, default ./lake]", metavar="PATH|URL"),
]
TargetOption = Annotated[
    str | None,
    typer.Option(help=f"Target of the dbt profile: prod, spark, dev, spark_dev; default by {PREFIX}TRANSFORM__ENGINE"),
]


class Engine(StrEnum):
    """What builds tables."""

    DUCKDB = "duckdb"
    SPARK = "spark"


def settings_for(lake: str | None) -> Settings:
    """Settings with the lake of the option."""
    return load_settings(lake=lake)


def no_tables(lake: str) -> str:
    return f"No tables yet in {lake} ({PREFIX}LAKE, or --lake). Begin with: ad-lakehouse land --files DIR"


def lake_of(settings: Settings) -> "Lake":
    from ad_lakehouse.lake import Lake

    return Lake(settings.lake, settings.storage_options)
