"""Lands one topic into a lake: the measured step. `land_once LAKE BOOTSTRAP TOPIC SOURCE [REJECTED [REGISTRY]]`."""

import sys
from dataclasses import replace

from ad_lakehouse.lake import Lake
from ad_lakehouse.settings import load_settings
from benchmarks.measure import report
from kafka_sinks.memory import give_freed_memory_back
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import load_sources


def land(lake: str, bootstrap: str, topic: str, name: str, rejected: str = "0", registry: str = "") -> int:
    give_freed_memory_back()
    settings = load_settings(lake=lake, kafka={"bootstrap_servers": bootstrap, "schema_registry": registry})
    source = replace(load_sources(None)[name], topic=topic)
    landed = land_topic(Lake(lake), source, settings)
    if landed.rejected.total() != int(rejected):
        raise SystemExit(f"rejected: {dict(landed.rejected)}")
    return landed.records


if __name__ == "__main__":
    report(lambda: land(*sys.argv[1:]))
