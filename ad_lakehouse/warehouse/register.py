"""Every published table of the lake in Trino's catalog, and so in its metastore; run again, only what differs.

Belongs here: what to register, move and take out, and that it is done. Not here: the statements (catalog.py).

The metastore holds a table's name and where it is, no more: columns, rows and versions are read from the Delta log by
each query. So new data need nothing; what is registered anew is what came, went or moved. Data are never touched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import TrinoSettings
from ad_lakehouse.warehouse.catalog import Catalog, Place, Unread
from ad_lakehouse.warehouse.trino import CatalogUnfit, Trino, TrinoError, TrinoUnreachable


class Step(StrEnum):
    """What becomes of one table of the catalog."""

    REGISTERED = "registered"
    MOVED = "moved"
    UNREGISTERED = "unregistered"
    UNCHANGED = "unchanged"
    FOREIGN = "left alone, not of this lake"
    UNREAD = "left alone, Trino cannot read it"


@dataclass(frozen=True)
class Registration:
    """One table: where it is, where the catalog had it before (None: nowhere), what Trino said when it would not."""

    name: TableName
    step: Step
    location: str | None
    before: str | None = None
    error: str = ""


def steps(wanted: Mapping[TableName, str], found: Mapping[TableName, Place], root: str) -> list[Registration]:
    """What makes the catalog know `wanted`, given where each table in the lake's schemas is.

    `root`: the lake's address. A table that is elsewhere, and that the lake does not have, is somebody else's; one that
    is nowhere any more can be read by nobody. One that Trino cannot read now, as when a store is away, stays as it is.
    """
    made = []
    for name in sorted({*wanted, *found}):
        to, before = wanted.get(name), found.get(name)
        if isinstance(before, Unread):
            made.append(Registration(name, Step.UNREAD, to, error=before.why))
            continue
        if name not in found:
            step = Step.REGISTERED
        elif to is None:
            step = Step.UNREGISTERED if before is None or before.startswith(f"{root}/") else Step.FOREIGN
        else:
            step = Step.UNCHANGED if before == to else Step.MOVED
        made.append(Registration(name, step, to, before))
    return made


def register(
    lake: Lake,
    settings: TrinoSettings,
    *,
    dry_run: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> list[Registration]:
    """Makes the catalog know each published table; returns what became of each, with `error` where Trino would not.

    Raises `ConfigurationError`, `TrinoUnreachable`, `CatalogUnfit`, `StoreRefused`.
    """
    if lake.is_local and not Path(lake.root).is_dir():  # else nothing would be left of what Trino knows
        raise ConfigurationError(f"Lake {lake.root} is not there.", remedy="Mount it, or correct AD_LAKEHOUSE_LAKE.")
    catalog = Catalog(Trino.of(settings), settings.catalog, settings.schema_prefix)
    # As the engines write it: a path behind the scheme, nothing in it escaped
    root = f"file://{Path(lake.root).resolve()}" if lake.is_local else lake.url
    wanted = {name: f"{root}/{name.layer}/{name.table}" for name in lake.tables()}
    progress("what Trino knows")
    planned = steps(wanted, catalog.tables(), root)
    if dry_run:
        return planned
    catalog.make_schemas({each.name.layer for each in planned if each.step is Step.REGISTERED})
    done = []
    for each in planned:
        progress(str(each.name))
        done.append(carried_out(each, catalog))
    catalog.forget()  # a table that was made anew where it stood is another one
    return done


def carried_out(planned: Registration, catalog: Catalog) -> Registration:
    """Takes one step; one table's refusal stops no other's."""
    try:
        if planned.step in (Step.MOVED, Step.UNREGISTERED):
            catalog.remove(planned.name)
        if planned.step in (Step.MOVED, Step.REGISTERED) and planned.location is not None:
            catalog.add(planned.name, planned.location)
    except (TrinoUnreachable, CatalogUnfit):
        raise
    except TrinoError as error:
        # Another run may have been first
        if error.name == "ALREADY_EXISTS" and catalog.place(planned.name) == planned.location:
            return replace(planned, step=Step.UNCHANGED, before=planned.location)
        return replace(planned, error=error.message)
    return planned
