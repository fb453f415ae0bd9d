"""The file router sends what a folder holds, and ends. `route_once FOLDER BOOTSTRAP TOPIC SOURCE REGISTRY AUTH`."""

import sys
from dataclasses import replace

from pydantic import SecretStr

from ad_lakehouse.files.router.routing import Router
from ad_lakehouse.settings import KafkaSettings, RouterSettings, Settings
from benchmarks.measure import report
from kafka_sinks.sources import load_sources


def route(folder: str, bootstrap: str, topic: str, source: str, registry: str, auth: str) -> int:
    sources = {source: replace(load_sources()[source], topic=topic)}
    settings = Settings(
        kafka=KafkaSettings(
            bootstrap_servers=bootstrap, schema_registry=registry, schema_registry_auth=SecretStr(auth)
        ),
        router=RouterSettings(progress_topic=f"{topic}.routed"),
    )
    with Router(sources, folder, settings) as router:
        return sum(each.rows for each in router.route())


if __name__ == "__main__":
    report(lambda: route(*sys.argv[1:]))
