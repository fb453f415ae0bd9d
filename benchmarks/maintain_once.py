"""One `maintain` of a lake, measured: `python -m benchmarks.maintain_once LAKE ROWS`."""

import sys

from ad_lakehouse.lake import Lake
from ad_lakehouse.maintenance import maintain
from ad_lakehouse.settings import MaintenanceSettings
from benchmarks.measure import report


def main() -> None:
    folder, rows = sys.argv[1], int(sys.argv[2])

    def step() -> int:
        failed = [each.remark for each in maintain(Lake(folder), MaintenanceSettings()) if each.failed]
        if failed:
            raise RuntimeError("; ".join(failed))
        return rows

    report(step)


if __name__ == "__main__":
    main()
