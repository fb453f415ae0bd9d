"""Care of the tables by the clock: small files every hour, old files and log entries every night.

Belongs here: the job, its schedule. Not here: what is done (maintenance.py of the package).

It is no asset: no row changes, so nothing is newer after it.
"""

from datetime import UTC

import dagster as dg

from ad_lakehouse.defs.metadata import markdown_table
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.defs.triggers import JOB_TAG
from ad_lakehouse.settings import Settings

MAINTAIN = "maintain"
NIGHT = 3  # the hour (UTC) whose run removes, too: listing all files of a large lake takes a while


class Scope(dg.Config):
    """What a run does. `remove`: old files and log entries, too."""

    remove: bool = True


@dg.op(description="Puts small files of each table together; removes files and log entries that nobody needs.")
def maintain_tables(context: dg.OpExecutionContext, config: Scope, settings: dg.ResourceParam[Settings]) -> None:
    """Raises `Failure` when a table could not be cared for; the others are."""
    from ad_lakehouse.maintenance import maintain

    cared = maintain(lake_of(settings), settings.maintenance, remove=config.remove, progress=context.log.info)
    columns = ("table", "days compacted", "files before", "after", "files removed", "log entries removed", "remark")
    told = [
        (
            str(each.name), each.compacted.partitions, each.compacted.removed, each.compacted.added,
            each.vacuumed, each.log_entries, each.remark,
        )
        for each in cared
    ]  # fmt: skip
    context.add_output_metadata({"tables": dg.MetadataValue.md(markdown_table(columns, told))})
    if failed := [f"{each.name}: {each.remark}" for each in cared if each.failed]:
        raise dg.Failure("; ".join(failed))


@dg.job(name=MAINTAIN, tags={JOB_TAG: MAINTAIN}, description="Care of all tables. No row changes.")
def maintain_job() -> None:
    """One step."""
    maintain_tables()


@dg.schedule(
    name="maintain_hourly", job=maintain_job, cron_schedule="23 * * * *", execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour small files are put together; at night old files and log entries are removed, too.",
)  # fmt: skip
def maintain_hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Begins the run of the hour."""
    remove = context.scheduled_execution_time.astimezone(UTC).hour == NIGHT
    return dg.RunRequest(run_config=dg.RunConfig(ops={maintain_tables.name: Scope(remove=remove)}))
