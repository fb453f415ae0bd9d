"""The stream monitor in figures: `python -m benchmarks.anomaly`: injected faults, the NAB series, how soon, how fast.

Belongs here: what is measured and printed. Not here: the faults (faulty_traffic.py), NAB's scoring (nab.py).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ad_lakehouse.demo.artefacts import KafkaUnavailable
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.settings import MonitorSettings
from benchmarks.faulty_traffic import compare, faults_of, judged, traffic
from benchmarks.landing import publish
from benchmarks.measure import measured
from benchmarks.monitor_delay import seconds_until_told
from benchmarks.nab import HINT, best, point_scores, read_series, score
from benchmarks.records import impressions

console = Console(width=140)
EACH_DAY = 14  # faults: two of each kind


def show_faults(days: int, first: int, rates: tuple[float, ...], seed: int) -> None:
    settings = MonitorSettings()
    for rate in rates:
        faults = faults_of(first, days - first, EACH_DAY, seed)
        start = first * 86_400 // settings.window_seconds
        outcomes, false, _ = compare(
            faults, judged(traffic(days, rate, seed, faults), settings, start), settings, days - first
        )
        calm = len(judged(traffic(days, rate, seed + 1, []), settings, start)) / (days - first)
        title = f"{rate:g} impressions/s, {days} days, faults of 10 minutes from day {first + 1} on"
        table = Table("fault", "injected", "found", "median s", "worst s", title=title, header_style="bold")
        for each in outcomes:
            table.add_row(each.kind, f"{each.faults}", f"{each.found}", f"{each.median:.0f}", f"{each.worst:.0f}")
        console.print(table)
        recall = sum(each.found for each in outcomes) / len(faults)
        console.print(
            f"recall {recall:.0%}; false alarms a day: {false:.2f} beside faults, {calm:.2f} without any. Seconds are "
            "event time from the fault's begin to the end of the window that told; the watermark and the commit come "
            "on top.",
            highlight=False,
        )


def show_nab(folder: Path) -> None:
    try:
        series = read_series(folder)
    except FileNotFoundError as error:
        console.print(str(error), highlight=False)
        return
    scores = [point_scores(each) for each in series]
    own = MonitorSettings().z
    table = Table("NAB, standard profile", "score", "threshold", "windows", "found", "false", header_style="bold")
    for name, each in (
        ("threshold chosen for the best score, as NAB does", best(series, scores)),
        ("the monitor's own z", score(series, scores, own)),
    ):
        table.add_row(
            name, f"{each.score:.1f}", f"{each.threshold:.1f}", f"{each.windows}", f"{each.found}", f"{each.false}"
        )
    console.print(table)
    console.print(f"{len(series)} of NAB's 58 series: not the score of its published table.", highlight=False)


def show_speed(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        publish(broker.bootstrap, "bench.monitor", impressions(7, time.time_ns() // 1000), rows)
        raw = measured("benchmarks.raw_consume", broker.bootstrap, "bench.monitor")
        ours = measured("benchmarks.monitor_once", f"{folder}/lake", broker.bootstrap, "bench.monitor")
    if not raw.rows == ours.rows == rows:
        raise RuntimeError(f"published {rows}, consumed {raw.rows}, counted {ours.rows}")
    table = Table("JSON impressions", "rows", "rows/s", "CPU s per M rows", "peak MB", header_style="bold")
    for name, each in (("raw consume", raw), ("monitor", ours)):
        table.add_row(
            name, f"{each.rows:,}", f"{each.rows_per_second:,.0f}", f"{each.cpu_per_million:.2f}",
            f"{each.peak_bytes / 1e6:.0f}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anomaly", description=__doc__)
    parser.add_argument("--nab", type=Path, default=Path(os.environ.get("NAB_DATA", "nab")), help=HINT)
    parser.add_argument("--days", type=int, default=30, help="of made-up traffic")
    parser.add_argument("--first", type=int, default=16, help="days before the first fault: history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000, help="records of the topic")
    parser.add_argument("only", nargs="?", choices=["faults", "nab", "delay", "speed"], help="only this part")
    given = parser.parse_args()
    if given.only in (None, "faults"):
        show_faults(given.days, given.first, (50.0, 5.0), given.seed)
    if given.only in (None, "nab"):
        show_nab(given.nab)
    try:
        if given.only in (None, "delay"):
            console.print(f"Traffic stops, and {seconds_until_told():.0f} s later it is told (default settings).")
        if given.only in (None, "speed"):
            show_speed(given.rows)
    except KafkaUnavailable as error:
        console.print(str(error), highlight=False)


if __name__ == "__main__":
    main()
