"""The demo's files: mixed CSV by day, container files of bid requests, dimensions, and JSON where there is no broker.

Belongs here: which record is in which file, writing each whole under its name at once. Not here: topics.
"""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from ad_lakehouse.demo.avro_bids import BID_SCHEMAS, PLAIN, container, schema_of
from ad_lakehouse.demo.config import DAY, GeneratorConfig, micros
from ad_lakehouse.demo.delivery import Stream, joined
from ad_lakehouse.demo.wire import CSV_COLUMNS

PACKED_EVERY = 3  # each third day's CSV file is packed with gzip


def write_file(path: Path, pieces: Iterable[bytes], moment: int) -> None:
    """Puts a file there whole, in one rename; its time is `moment`, by which landing judges its event times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                packed.writelines(pieces)
        else:
            raw.writelines(pieces)
    os.utime(unfinished, ns=(moment * 1_000, moment * 1_000))
    unfinished.rename(path)


def days_of(stream: Stream, config: GeneratorConfig) -> Iterator[tuple[date, Stream, int]]:
    """The stream by the UTC day its records arrived: day, records, and the moment that day's file is closed."""
    numbers = stream.arrivals // DAY
    for number in np.unique(numbers).tolist():
        day = datetime.fromtimestamp(number * DAY / 1_000_000, UTC).date()
        yield day, stream.chosen(np.flatnonzero(numbers == number)), min((number + 1) * DAY, micros(config.end))


def lines(first: bytes | None, payloads: Iterable[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first + b"\n"
    for payload in payloads:
        yield payload + b"\n"


def csv_files(folder: Path, clicks: Stream, conversions: Stream, config: GeneratorConfig) -> list[Path]:
    """Clicks and conversions mixed, one file a day of arrival, in order of arrival."""
    both = joined([clicks, conversions])
    both = both.chosen(np.argsort(both.arrivals, kind="stable"))
    paths = []
    for place, (day, records, closed) in enumerate(days_of(both, config)):
        ending = ".csv.gz" if place % PACKED_EVERY == PACKED_EVERY - 1 else ".csv"
        paths.append(folder / f"events-{day}{ending}")
        write_file(paths[-1], lines(CSV_COLUMNS.encode(), records.payloads), closed)
    return paths


def json_files(folder: Path, impressions: Stream, config: GeneratorConfig) -> list[Path]:
    """Impressions, one packed file of JSON lines a day of arrival."""
    paths = []
    for day, records, closed in days_of(impressions, config):
        paths.append(folder / f"impressions-{day}.jsonl.gz")
        write_file(paths[-1], lines(None, records.payloads), closed)
    return paths


def bid_files(folder: Path, bids: Stream, config: GeneratorConfig) -> list[Path]:
    """Bid requests, one container file a day of arrival and writer's schema."""
    paths = []
    for day, records, closed in days_of(bids, config):
        for number in BID_SCHEMAS:
            mine = [payload for payload in records.payloads if schema_of(payload) == number]
            if mine:
                paths.append(folder / f"bids-{day}{'' if number == PLAIN else '-deals'}.avro")
                write_file(paths[-1], container(number, mine), closed)
    return paths


def dimension_files(folder: Path, texts: Mapping[str, str], moment: int) -> list[Path]:
    paths = []
    for name, text in texts.items():
        paths.append(folder / "dimensions" / name)
        write_file(paths[-1], [text.encode()], moment)
    return paths


def write_registry(folder: Path) -> None:
    """The bid requests' schemas as `<id>.avsc`, standing in for a schema registry."""
    for number, schema in BID_SCHEMAS.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.avsc").write_text(json.dumps(schema, indent=1))
