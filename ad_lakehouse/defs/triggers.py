"""When to land and when to build, so that an open Dagster keeps everything fresh.

Belongs here: the two jobs, the sensors that start them, the decision. Not here: what the jobs do, finding out what
is new (arrivals.py).

Both sensors look at the world, not at Dagster's own events: is there something new on a topic or in the folder; is
there a landed version that was not built from? So it makes no difference who landed: a job, a command, another sink.
A run for something new takes what is affected, with the checks that must hold before anything reads it. Every
`VERIFY_EVERY` a run takes everything, all checks included, which proves that all is up to date (docs/decisions).
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ad_lakehouse.defs.arrivals import files_by_source, landed_by_service, waiting_records
from ad_lakehouse.defs.figures import changed_version, version_of
from ad_lakehouse.defs.freshness import VERIFY_EVERY
from ad_lakehouse.defs.graph import ModelGraph
from ad_lakehouse.defs.instance_facts import failed_checks, now, unfinished_since
from ad_lakehouse.defs.keys import LEDGER, asset_key, table_name
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import Source

LAND, BUILD = "land", "build"
JOB_TAG = "ad_lakehouse/job"  # the queue lets one run of each job through (instance.py)
GIVEN_UP = timedelta(hours=2)  # a run that has not moved for so long is dead; two at once would do no harm
EVERYTHING = frozenset({"*"})


def jobs(landing: dg.AssetSelection, models: dg.AssetSelection) -> list[UnresolvedAssetJobDefinition]:
    """`land` and `build`, each with the checks of its tables."""
    return [
        dg.define_asset_job(
            LAND, landing, tags={JOB_TAG: LAND},
            description="Lands topics and files, checks what landed, writes the ledger.",
        ),
        dg.define_asset_job(
            BUILD, models, tags={JOB_TAG: BUILD},
            description="Builds what is stale below the landed tables, and checks it.",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Cursor:
    """What a sensor remembers: for what it started runs, and when it last asked for everything."""

    handled: Mapping[str, str]
    verified: datetime | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        content = json.loads(text or "{}")
        at = content.get("verified")
        return cls(content.get("handled", {}), datetime.fromisoformat(at) if at else None)

    def __str__(self) -> str:
        return json.dumps({"handled": self.handled, "verified": self.verified and self.verified.isoformat()})


def due(seen: Mapping[str, str], cursor: Cursor, at: datetime) -> frozenset[str]:
    """What a run must be about: names whose state was not handled, or everything; empty when nothing is due."""
    if cursor.verified is None or at - cursor.verified >= VERIFY_EVERY:
        return EVERYTHING
    return frozenset(name for name, state in seen.items() if cursor.handled.get(name) != state)


def request(
    context: dg.SensorEvaluationContext,
    job: str,
    seen: Mapping[str, str],
    select: Callable[[frozenset[str]], dg.RunRequest],
    told: str,
) -> dg.RunRequest | dg.SkipReason:
    """A run when one is due and none is in progress. `select` makes it, for the names that it must be about."""
    at, cursor = now(), Cursor.parse(context.cursor)
    since = unfinished_since(context.instance, job)
    if since is not None and at - since < GIVEN_UP:
        return dg.SkipReason(f"a run is in progress; {told}")
    about = due(seen, cursor, at)
    if not about:
        return dg.SkipReason(told)
    verified = at if about == EVERYTHING else cursor.verified
    context.update_cursor(str(Cursor({**cursor.handled, **seen}, verified)))
    if about == EVERYTHING:
        return dg.RunRequest(tags={"ad_lakehouse/why": "verify"})
    return select(about)


def landing_sensor(groups: Sequence[tuple[Source, ...]], gates: Collection[dg.AssetCheckKey]) -> dg.SensorDefinition:
    """Starts `land` when a topic or the folder holds something that has not landed, or the service has landed.

    `gates`: checks that come with it, as those that must hold before a landed table is read.
    """
    sources = {each.name: each for group in groups for each in group}

    def select(about: frozenset[str]) -> dg.RunRequest:
        named = {name.partition(" ")[0] for name in about}
        affected = [each.name for group in groups if named & {each.name for each in group} for each in group]
        keys = [asset_key(f"bronze.{name}") for name in affected]
        checks = [key for key in gates if key.asset_key in keys]
        return dg.RunRequest(
            asset_selection=[*keys, asset_key(LEDGER)],
            asset_check_keys=checks,
            tags={"ad_lakehouse/why": "new records"},
        )

    @dg.sensor(
        name="land_what_is_new", job_name=LAND, minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every minute: something new on a topic or in the drop folder?",
    )  # fmt: skip
    def land_what_is_new(
        context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        waiting = waiting_records(settings, sources)
        seen = {f"{name} topic": ends for name, (_, ends) in waiting.items()}
        seen |= {f"{name} service": str(version) for name, version in landed_by_service(settings, sources).items()}
        files = files_by_source(settings, sources, now())
        seen |= {f"{name} files": digest for name, digest in files.items()}
        records = sum(count for count, _ in waiting.values())
        return request(context, LAND, seen, select, f"{records:,} records wait on {len(waiting)} topics")

    return land_what_is_new


def build_sensor(
    landed: Collection[dg.AssetKey],
    gates: Collection[dg.AssetCheckKey],
    graph: ModelGraph,
    checks: Collection[dg.AssetCheckKey],
) -> dg.SensorDefinition:
    """Starts `build` when a landed table has a new version, one of its `gates` another outcome, or the project changed.

    `checks`: those of models that come with every build.
    """

    def select(about: frozenset[str]) -> dg.RunRequest:
        affected = graph.below(about) if about <= {str(table_name(key)) for key in landed} else graph.by_name
        keys = [asset_key(name) for name in affected]
        return dg.RunRequest(
            asset_selection=keys,
            asset_check_keys=[key for key in checks if key.asset_key in keys],
            tags={"ad_lakehouse/why": "new versions"},
        )

    @dg.sensor(
        name="build_what_is_stale", job_name=BUILD, minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every half minute: something landed, or changed in the dbt project, that was not built from?",
    )  # fmt: skip
    def build_what_is_stale(
        context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        lake = lake_of(settings)
        names = [table_name(key) for key in sorted(landed)]
        versions = {str(name): changed_version(lake, name, version_of(lake, name)) for name in names}
        if all(version < 1 for version in versions.values()):
            return dg.SkipReason("nothing has landed yet")
        failing = sorted(f"{each.asset} {each.check}" for each in failed_checks(context.instance, gates))
        seen = {name: str(version) for name, version in versions.items()}
        seen |= {"failing gates": json.dumps(failing), "dbt project": graph.sources}
        return request(context, BUILD, seen, select, "everything that landed was built from")

    return build_what_is_stale
