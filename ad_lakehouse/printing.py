"""Reports as tables for people.

Belongs here: how reports look on a terminal. Not here: making them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from ad_lakehouse.alerts.handling import ListedAlert
from ad_lakehouse.dbt_delta.run import BuildReport, TablePlan
from ad_lakehouse.files.quarantine import Rejected
from ad_lakehouse.files.report import FileReport
from ad_lakehouse.landing import LandedAll
from ad_lakehouse.maintenance import Cared
from ad_lakehouse.quality.checkup import Checked
from ad_lakehouse.status import TableStatus
from ad_lakehouse.warehouse.register import Registration, Step
from kafka_sinks.schema_subjects import State, Subject


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table with bold headers; columns named in `right` hold numbers."""
    made = Table(header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def number(value: int) -> str:
    """1,234; nothing for 0, so that the eye finds what is there."""
    return f"{value:,}" if value else ""


def by_reason(rejected: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in rejected.most_common())


def more(count: int) -> str:
    return f" and {count:,} more" if count > 0 else ""


def why(outcome: str, files: Sequence[FileReport]) -> str:
    if outcome == "still being written":
        return "changed a moment ago: land again"
    return escape("; ".join(sorted({file.error for file in files if file.error})))


def landed(report: LandedAll) -> Table:
    """One line a topic, one line a bronze table for all files."""
    made = table(
        "from", "to", "records", "rejected", "why", "lag", "seconds", right=["records", "rejected", "lag", "seconds"]
    )
    for each in report.topics:
        made.add_row(
            f"topic {each.topic}",
            str(each.table),
            number(each.records),
            number(each.rejected.total()),
            by_reason(each.rejected),
            f"{sum(each.lag.values()):,}",
            f"{each.seconds:.1f}",
        )
    groups: dict[str, list[int]] = {}
    for position, file in enumerate(report.files):
        target = " + ".join(map(str, file.tables)) if file.tables else ""
        groups.setdefault(f"{file.outcome}|{target}", []).append(position)
    for group, positions in groups.items():
        outcome, _, target = group.partition("|")
        files = [report.files[position] for position in positions]
        rejected = sum((file.rejected for file in files), Counter[str]())
        made.add_row(
            f"{len(files)} file{'s' if len(files) > 1 else ''}: {outcome}",
            escape(target or ", ".join(file.path for file in files[:3]) + more(len(files) - 3)),
            number(sum(file.rows for file in files)),
            number(rejected.total()),
            by_reason(rejected) or why(outcome, files),
            "",
            f"{sum(file.seconds for file in files):.1f}",
        )
    return made


def built(report: BuildReport) -> Table:
    """One line a model: what was rebuilt and why."""
    made = table(
        "table",
        "result",
        "days rebuilt",
        "replaced",
        "rows",
        "seconds",
        "why",
        right=["days rebuilt", "replaced", "rows", "seconds"],
    )
    for each in report.results:
        figures = each.figures
        rebuilt = figures.get("days_rebuilt", 0)
        made.add_row(
            each.name,
            each.status if each.ok else f"[bold red]{each.status}[/]",
            "all" if rebuilt is None else number(rebuilt),
            number(figures.get("days_replaced", 0) or 0),
            number(figures.get("rows", 0) or figures.get("rows_affected", 0) or 0),
            f"{each.seconds:.2f}",
            escape(str(figures.get("reason", "")) if each.ok else each.message),
        )
    return made


def planned(plans: Sequence[TablePlan]) -> Table:
    """One line a table: which days a build would rebuild, and why."""
    made = table("table", "days to rebuild", "which", "why", right=["days to rebuild"])
    for each in plans:
        days = sorted(each.days or ())
        which = "" if not days else str(days[0]) if len(days) == 1 else f"{days[0]} … {days[-1]}"
        made.add_row(str(each.name), "all" if each.days is None else number(len(days)) or "none", which, each.reason)
    return made


def tables(found: Sequence[TableStatus]) -> Table:
    """One line a table of the lake."""
    made = table(
        "table", "version", "rows", "rejected", "days", "files", "size", "last commit (UTC)",
        right=["version", "rows", "rejected", "files", "size"],
    )  # fmt: skip
    for each in found:
        made.add_row(
            str(each.name),
            str(each.version),
            f"{each.rows:,}",
            number(each.rejected),
            f"{each.first_day} … {each.last_day}" if each.first_day else "",
            str(each.files),
            decimal(each.size),
            f"{each.committed:%Y-%m-%d %H:%M:%S}",
        )
    return made


def cared(done: Sequence[Cared]) -> Table:
    """One line a table that was cared for."""
    columns = ("days compacted", "files before", "now", "removed", "log entries removed", "seconds")
    made = table("table", *columns, "remark", right=columns)
    for each in done:
        made.add_row(
            str(each.name),
            number(each.compacted.partitions),
            number(each.files + each.compacted.fewer),
            number(each.files),
            number(each.vacuumed),
            number(each.log_entries),
            f"{each.seconds:.1f}",
            escape(each.remark),
        )
    return made


def checks(found: Sequence[Checked]) -> Table:
    """One line a check; for a failing one what was found and an example."""
    made = table("table", "check", "result", "found")
    for each in found:
        outcome = each.outcome
        result = "ok" if outcome.passed else "[yellow]warn[/]" if outcome.severity == "warn" else "[bold red]fail[/]"
        made.add_row(str(each.table), outcome.title, result, "" if outcome.passed else escape(str(outcome)))
    return made


def rejected_counts(counted: Mapping[tuple[str, str], int]) -> Table:
    """Rejected rows by source and reason."""
    made = table("source", "reason", "rows", right=["rows"])
    for (source, reason), count in counted.items():
        made.add_row(source, reason, f"{count:,}")
    return made


def rejected_rows(rows: Sequence[Rejected]) -> Table:
    """One line a rejected row."""
    made = table("key", "source", "place", "error")
    for row in rows:
        made.add_row(*map(escape, (row.key, row.source, row.place, f"{row.reason}: {row.error}")))
    return made


def rejected_row(row: Rejected) -> str:
    """One rejected row whole; bytes that are no text are shown as \\xNN."""
    return (
        f"source    {row.source}\nplace     {row.place}\nlanded    {row.landed_at:%Y-%m-%d %H:%M:%S %Z}\n"
        f"reason    {row.reason}\nerror     {row.error}\nraw       {row.raw.decode('utf-8', 'backslashreplace')}"
    )


def alerts(found: Sequence[ListedAlert]) -> Table:
    """One line an alert."""
    made = table("alert", "severity", "state", "since (UTC)", "text", "not delivered")
    for each in found:
        state = each.state
        waiting = "; ".join(f"{one.channel}: {one.error or 'waiting'}" for one in (*each.pending, *each.failed))
        made.add_row(
            state.key,
            str(state.severity),
            str(state.status),
            f"{state.first_seen:%Y-%m-%d %H:%M}",
            escape(state.title),
            escape(waiting),
        )
    return made


def subjects(found: Sequence[Subject]) -> Table:
    """One line a source: its subject in the schema registry, and what is different there."""
    made = table("source", "subject", "state", "version", "compatibility", "what differs", right=["version"])
    for each in found:
        bad = each.state is State.INCOMPATIBLE
        made.add_row(
            each.source,
            escape(each.name),
            f"[bold red]{each.state}[/]" if bad else str(each.state),
            "" if each.version is None else str(each.version),
            each.level,
            escape("\n".join(each.differences)),
        )
    return made


def registered(done: Sequence[Registration]) -> tuple[Table | None, str]:
    """One line a table of which something was to be told, and a line for all; no table when there is none."""
    told = [each for each in done if each.error or each.step is not Step.UNCHANGED]
    made = table("table", "", "where", "before")
    for each in told:
        what = f"failed: {each.error}" if each.error else each.step.value
        made.add_row(str(each.name), escape(what), escape(each.location or ""), escape(each.before or ""))
    counts = Counter("failed" if each.error else each.step.value for each in done)
    summary = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
    return (made if told else None), f"{len(done):,} tables: {summary}." if done else "No tables yet."
