"""All figures in one table: `python -m benchmarks [--rows N]`."""

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks.landing import landing

console = Console()


def show_landing(rows: int) -> None:
    table = Table("landing", "rows", "MB/s", "rows/s", "of raw consume", "CPU s per M rows", "peak MB", header_style="bold")
    for form, size, raw, ours in landing(rows):
        for name, each in ((f"{form}: raw consume", raw), (f"{form}: landed", ours)):
            table.add_row(
                name,
                f"{each.rows:,}",
                f"{size / each.seconds / 1e6:.0f}",
                f"{each.rows_per_second:,.0f}",
                f"{raw.seconds / each.seconds:.0%}",
                f"{each.cpu_per_million:.2f}",
                f"{each.peak_bytes / 1e6:.0f}",
            )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="records of each landing measurement")
    given = parser.parse_args()
    show_landing(given.rows)


if __name__ == "__main__":
    main()
