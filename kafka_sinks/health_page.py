"""The service's HTTP port: `/health` for an orchestrator, `/metrics` in Prometheus' text format.

Belongs here: showing what health.py knows. Not here: what it means.
"""

import json
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ad_lakehouse.errors import ConfigurationError
from kafka_sinks.health import SourceHealth

PREFIX = "ad_lakehouse_sink"


class Sinks(Collector):
    """The metrics of each source, made when they are asked for."""

    def __init__(self, sources: Mapping[str, SourceHealth]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        of, place = ["source"], ["source", "partition"]
        up = GaugeMetricFamily(f"{PREFIX}_up", "1 while it is landed, 0 while it waits or has failed", labels=of)
        accepted = CounterMetricFamily(f"{PREFIX}_accepted_rows", "Rows landed and accepted", labels=of)
        rejected = CounterMetricFamily(f"{PREFIX}_quarantined_rows", "Rows landed and rejected", labels=[*of, "reason"])
        payload = CounterMetricFamily(f"{PREFIX}_payload_bytes", "Payload of the landed records", labels=of)
        commits = CounterMetricFamily(f"{PREFIX}_commits", "Commits to the bronze table", labels=of)
        conflicts = CounterMetricFamily(f"{PREFIX}_conflicts", "Commits that another writer was before", labels=of)
        landed = GaugeMetricFamily(f"{PREFIX}_landed_offset", "Next offset to land", labels=place)
        lag = GaugeMetricFamily(f"{PREFIX}_lag", "Offsets between the last landed record and the end", labels=place)
        age = GaugeMetricFamily(f"{PREFIX}_last_commit_age_seconds", "Since this worker's last commit", labels=place)
        stalled = GaugeMetricFamily(f"{PREFIX}_stalled", "1 when there is more and nothing is landed", labels=place)
        now = time.monotonic()
        for name, source in self._sources.items():
            up.add_metric([name], float(source.up))
            if (report := source.report) is not None:
                accepted.add_metric([name], report.accepted)
                payload.add_metric([name], report.payload_bytes)
                commits.add_metric([name], report.batches)
                conflicts.add_metric([name], report.conflicts)
                for reason, rows in dict(report.rejected).items():
                    rejected.add_metric([name, reason], rows)
            stands = source.stalled()
            for partition, each in dict(source.partitions).items():
                labels = [name, str(partition)]
                landed.add_metric(labels, each.landed)
                lag.add_metric(labels, each.lag)
                stalled.add_metric(labels, float(partition in stands))
                if each.committed is not None:
                    age.add_metric(labels, now - each.committed)
        yield from (up, accepted, rejected, payload, commits, conflicts, landed, lag, age, stalled)


def open_page(host: str, port: int, sources: Mapping[str, SourceHealth]) -> ThreadingHTTPServer:
    """A server that answers once its `serve_forever` runs; port 0 takes a free one. Raises `ConfigurationError`."""
    registry = CollectorRegistry()
    registry.register(Sinks(sources))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name http.server calls
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/health":
                body = health(sources)
                self._answer(200 if body["well"] else 503, "application/json", json.dumps(body).encode())
            else:
                self._answer(404, "text/plain", b"/health or /metrics\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes come every few seconds: nothing is logged."""

    try:
        return ThreadingHTTPServer((host, port), Page)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} on {host} cannot be opened: {error.strerror}.",
            remedy="Choose another one with --port; 0 takes a free one.",
        ) from None


def health(sources: Mapping[str, SourceHealth]) -> dict[str, Any]:
    """Whether all is well, and each source's phase and problems."""
    told = {name: {"phase": each.phase_shown, "problems": each.problems()} for name, each in sources.items()}
    return {"well": not any(each["problems"] for each in told.values()), "sources": told}
