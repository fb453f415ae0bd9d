"""Builds a lake's published tables: the measured step. `build_once LAKE [full] [spark]`.

The start of dbt, and of Spark, is part of it."""

import sys

from ad_lakehouse.dbt_delta.run import build
from ad_lakehouse.settings import load_settings
from benchmarks.measure import report


def run(lake: str, *how: str) -> int:
    target = "spark" if "spark" in how else "prod"
    done = build(load_settings(lake=lake), target=target, full_refresh="full" in how).raise_if_failed()
    return max(1, sum(int(each.figures.get("rows", 0) or 0) for each in done.results))


if __name__ == "__main__":
    report(lambda: run(*sys.argv[1:]))
