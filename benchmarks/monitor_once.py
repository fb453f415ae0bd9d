"""The monitor counts what a topic holds, and ends. `monitor_once LAKE BOOTSTRAP TOPIC`."""

import sys
from dataclasses import replace

from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.run import Monitor
from ad_lakehouse.settings import KafkaSettings, Settings
from benchmarks.measure import report
from kafka_sinks.sources import load_sources


def count(lake: str, bootstrap: str, topic: str) -> int:
    source = replace(load_sources()["impressions"], topic=topic)
    monitor = Monitor(Lake(lake), [source], Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap)))
    monitor.session(until_drained=True)
    return monitor.records


if __name__ == "__main__":
    report(lambda: count(*sys.argv[1:]))
