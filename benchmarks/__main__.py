"""All figures in one table: `python -m benchmarks`."""

import argparse
import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ad_lakehouse.errors import ConfigurationError
from benchmarks.commits import commits
from benchmarks.follow import follow
from benchmarks.kafka_delta_ingest import HINT, given_binary
from benchmarks.landing import landing
from benchmarks.measure import Measured
from benchmarks.transform import DAYS, builds, history

console = Console(width=140)


def show_landing(rows: int, *, peers: bool, kdi: str | None) -> None:
    table = Table(
        "landing", "rows", "MB/s", "rows/s", "of raw consume", "CPU s per M rows", "peak MB", header_style="bold"
    )
    for topic in landing(rows, peers=peers, kdi=kdi):
        steps = {
            "raw consume": topic.raw,
            "landed": topic.ours,
            "Spark Structured Streaming": topic.spark,
            "kafka-delta-ingest": topic.kdi,
        }
        for name, each in steps.items():
            if each is None:
                continue
            table.add_row(
                f"{topic.form}: {name}",
                f"{each.rows:,}",
                f"{topic.size / each.seconds / 1e6:.0f}",
                f"{each.rows_per_second:,.0f}",
                f"{topic.raw.seconds / each.seconds:.0%}",
                f"{each.cpu_per_million:.2f}",
                f"{each.peak_bytes / 1e6:.0f}",
            )
    console.print(table)
    if peers and not kdi:
        console.print(HINT, highlight=False)


def show_follow(rate: int) -> None:
    table = Table(
        "service, --max-age", "records/s", "median ms", "p95 ms", "highest ms", "commits", "CPU s", "peak MB",
        header_style="bold",
    )  # fmt: skip
    each = follow(rate, 30, 1.0)
    table.add_row(
        "1 s",
        f"{each.rate:,.0f}",
        f"{each.median:,.0f}",
        f"{each.p95:,.0f}",
        f"{each.highest:,.0f}",
        f"{each.commits}",
        f"{each.cpu_seconds:.1f}",
        f"{each.peak_bytes / 1e6:.0f}",
    )
    console.print(table)


def show_commits(number: int) -> None:
    before, after, care = commits(number)
    table = Table(
        f"{number:,} commits", "files", "open ms", "one more commit ms", "days changed since the first, ms",
        "count distinct ms", header_style="bold",
    )  # fmt: skip
    for name, each in (("before maintain", before), ("after it", after)):
        figures = (each.open_it, each.commit, each.changed_days, each.count_rows)
        table.add_row(name, f"{each.files:,}", *(f"{figure:,.0f}" for figure in figures))
    console.print(table)
    console.print(
        f"maintain took {care.seconds:.1f} s, {care.cpu_seconds:.1f} CPU s, peak {care.peak_bytes / 1e6:.0f} MB"
    )


def show_transform(impressions: int, engines: Sequence[str]) -> None:
    with history(impressions) as landed:
        of_duckdb: dict[str, Measured] = {}
        for engine in engines:
            done = builds(landed, *([] if engine == "duckdb" else [engine]))
            title = f"{engine}: {done.events:,} events over {DAYS} days"
            table = Table(title, "seconds", "events/s", "of DuckDB's", "CPU s", "peak MB", header_style="bold")
            for name, each in (
                ("full build, empty lake", done.full),
                ("build after one late event", done.late),
                ("build when nothing is new", done.nothing),
            ):
                of_duckdb.setdefault(name, each)
                table.add_row(
                    name,
                    f"{each.seconds:.1f}",
                    f"{done.events / each.seconds:,.0f}" if each is done.full else "",
                    f"{each.seconds / of_duckdb[name].seconds:.1f} ×",
                    f"{each.cpu_seconds:.1f}",
                    f"{each.peak_bytes / 1e6:.0f}",
                )
            console.print(table)
            replaced = ", ".join(f"{table} {days}" for table, days in done.replaced.items())
            console.print(f"Days replaced after the late event: {replaced}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="records of each landing measurement")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="land by Spark, too (needs `make setup-engines`), and by the kafka-delta-ingest that KDI_BIN names",
    )
    parser.add_argument("--rate", type=int, default=50_000, help="records a second that the service lands")
    parser.add_argument("--commits", type=int, default=86_400, help="commits of the table that is maintained")
    parser.add_argument("--impressions", type=int, default=1_000_000, help="impressions of the history to build")
    parser.add_argument(
        "only", nargs="?", choices=["landing", "follow", "commits", "transform", "engines"], help="only this part"
    )
    given = parser.parse_args()
    try:
        kdi = given_binary(os.environ) if given.peers else None
    except ConfigurationError as error:
        parser.error(str(error))
    if given.only in (None, "landing"):
        show_landing(given.rows, peers=given.peers, kdi=kdi)
    if given.only in (None, "follow"):
        show_follow(given.rate)
    if given.only in (None, "commits"):
        show_commits(given.commits)
    if given.only in (None, "transform"):
        show_transform(given.impressions, ["duckdb"])
    if given.only == "engines":
        show_transform(given.impressions, ["duckdb", "spark"])


if __name__ == "__main__":
    main()
