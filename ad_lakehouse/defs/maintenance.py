"""Care of the tables by the clock: small files every hour, old files and log entries every night.

Belongs here: the two jobs, their schedules. Not here: what is done (maintenance.py of the package).

They are no assets: no row changes, so nothing is newer after them. Two jobs, so that what one of them could not do is
not taken for done when the other one ends well.
"""

import dagster as dg

from ad_lakehouse.defs.metadata import markdown_table
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.defs.triggers import JOB_TAG
from ad_lakehouse.settings import Settings

COMPACT, MAINTAIN = "compact", "maintain"


class Scope(dg.Config):
    """What a run does. `remove`: old files and log entries, too."""

    remove: bool


@dg.op(description="Puts small files of each table together; removes files and log entries that nobody needs.")
def maintain_tables(context: dg.OpExecutionContext, config: Scope, settings: dg.ResourceParam[Settings]) -> None:
    """Raises `Failure` when a table could not be cared for; the others are."""
    from ad_lakehouse.maintenance import maintain

    cared = maintain(lake_of(settings), settings.maintenance, remove=config.remove, progress=context.log.info)
    columns = ("table", "days compacted", "files before", "now", "files removed", "log entries removed", "remark")
    told = [
        (
            str(each.name), each.compacted.partitions, each.files + each.compacted.fewer, each.files,
            each.vacuumed, each.log_entries, each.remark,
        )
        for each in cared
    ]  # fmt: skip
    context.add_output_metadata({"tables": dg.MetadataValue.md(markdown_table(columns, told))})
    if failed := [f"{each.name}: {each.remark}" for each in cared if each.failed]:
        raise dg.Failure("; ".join(failed))


def care(name: str, description: str, *, remove: bool) -> dg.JobDefinition:
    """A job of the one step; the queue lets one run of either through."""

    @dg.job(
        name=name,
        tags={JOB_TAG: MAINTAIN},
        description=description,
        config=dg.RunConfig(ops={maintain_tables.name: Scope(remove=remove)}),
    )
    def job() -> None:
        maintain_tables()

    return job


def care_by_the_clock() -> tuple[list[dg.JobDefinition], list[dg.ScheduleDefinition]]:
    """The jobs and their schedules. A night that was missed is made up for when Dagster runs again."""
    compact = care(COMPACT, "Puts small files together. No row changes.", remove=False)
    maintain = care(MAINTAIN, "Compaction, and removal of old files and log entries. No row changes.", remove=True)
    clock = [(compact, "23 * * * *"), (maintain, "53 3 * * *")]
    schedules = [
        dg.ScheduleDefinition(
            job=job, cron_schedule=cron, execution_timezone="UTC", default_status=dg.DefaultScheduleStatus.RUNNING
        )
        for job, cron in clock
    ]
    return [compact, maintain], schedules
