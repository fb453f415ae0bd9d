"""The router's limit: lines of a file to a topic, and no more. `raw_produce FILE BOOTSTRAP TOPIC`."""

import sys
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.measure import report


def produce(path: str, bootstrap: str, topic: str) -> int:
    """Without transactions, headers, or knowing what was sent."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    rows = 0
    with Path(path).open("rb") as lines:
        for line in lines:
            while True:
                try:
                    producer.produce(topic, line.rstrip(b"\n"))
                    break
                except BufferError:
                    producer.poll(0.1)
            rows += 1
    if producer.flush(120):
        raise RuntimeError("not everything was sent")
    return rows


if __name__ == "__main__":
    report(lambda: produce(*sys.argv[1:]))
