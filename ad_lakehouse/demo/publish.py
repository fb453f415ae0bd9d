"""Publishing a demo exactly once: to topics and files, with a note of what was done.

Belongs here: what goes where, and what a second run finds. Not here: how a topic (topics.py) or file (drop.py) is
written, what is published (generate.py, open_bandit.py).

A note is written before the first record and another after the last. A run that was cut off in between is begun
anew: its topics are deleted with their records, its files are removed. Nothing of it was landed, since landing only
begins behind the second note.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ad_lakehouse.demo import drop
from ad_lakehouse.demo.config import GeneratorConfig, micros
from ad_lakehouse.demo.generate import Generated
from ad_lakehouse.demo.open_bandit import Replay
from ad_lakehouse.demo.topics import create_topics, delivering, records_on
from ad_lakehouse.demo.truth import GroundTruth
from ad_lakehouse.errors import LakehouseError

NOTE, TRUTH, REPLAY = "published.json", "truth.json", "open_bandit.json"


class OtherDemo(LakehouseError):
    """The folder holds a demo that does not go with what is asked for."""

    exit_code = 32


class Places(Protocol):
    """Folders of a demo."""

    @property
    def drop(self) -> Path:
        """Where files arrive."""

    @property
    def registry(self) -> Path:
        """Where the schemas of Avro messages stand."""

    @property
    def state(self) -> Path:
        """Where the demo keeps its notes."""


@dataclass(frozen=True)
class Published:
    """What is on topics and in files. `again`: it was there already, nothing was written."""

    seconds: float
    messages: dict[str, int]
    files: int
    files_only: bool
    again: bool = False

    @property
    def records(self) -> int:
        return sum(self.messages.values())


def published_before(config: GeneratorConfig, bootstrap: str | None, places: Places) -> Published | None:
    """What an earlier run published of the same demo (its end may differ); None when there was none.

    Raises `OtherDemo` when the folder holds another demo, or the broker has lost what was published.
    """
    note = read_note(places)
    if note is None or note["status"] != "done":
        return None
    asked = identity(config)
    if note["config"] != asked:
        held, wanted = (
            ", ".join(f"{name} {value}" for name, value in each.items()) for each in (note["config"], asked)
        )
        raise OtherDemo(
            f"{places.state.parent} holds another demo: {held}; asked for: {wanted}.",
            remedy="Give another --home, or remove that folder (make clean).",
        )
    published = Published(**note["published"] | {"again": True, "seconds": 0.0})
    if bootstrap is not None and not published.files_only:
        there = records_on(bootstrap)
        for topic, count in published.messages.items():
            if there.get(topic, 0) < count:
                raise OtherDemo(
                    f"The demo's broker has {there.get(topic, 0):,} of the {count:,} records of {topic}.",
                    remedy=f"Its data were removed. Remove {places.state.parent} too (make clean) and begin anew.",
                )
    return published


def publish(
    generated: Generated,
    bootstrap: str | None,
    places: Places,
    *,
    replay: Replay | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Published:
    """Publishes to the broker at `bootstrap` and the drop folder; without a broker to files only.

    What was published before is not published again. Writes the truth beside the note.
    """
    before = published_before(generated.config, bootstrap, places)
    if before is not None:
        return before
    begun = time.monotonic()
    note = read_note(places)
    if note is not None:
        say("An earlier run was cut off while it published; beginning anew.")
        for path in (path for pattern in OURS for path in places.drop.glob(pattern)):
            path.unlink()
    files_only = bootstrap is None
    config = identity(generated.config)
    write_note(places, {"status": "begun", "config": config})
    drop.write_registry(places.registry)
    files = write_files(generated, replay, places.drop, files_only=files_only)
    messages = {}
    if bootstrap is not None:
        create_topics(bootstrap, anew=True)
        messages = send_all(generated, replay, bootstrap, say)
    generated.truth(files_only=files_only).save(places.state / TRUTH)
    if replay is not None:
        (places.state / REPLAY).write_text(json.dumps(replay.truth))
    published = Published(time.monotonic() - begun, messages, files, files_only)
    write_note(places, {"status": "done", "config": config, "published": asdict(published)})
    return published


OURS = ("events-*.csv*", "impressions-*.jsonl.gz", "bids-*.avro", "open-bandit-*", "dimensions/*.csv")


def write_files(generated: Generated, replay: Replay | None, folder: Path, *, files_only: bool) -> int:
    """Writes all files; returns how many."""
    config, streams = generated.config, generated.streams(files_only=files_only)
    bids = streams["bid_requests"]
    paths = drop.csv_files(folder, streams["clicks"], streams["conversions"], config)
    paths += drop.bid_files(folder, bids if files_only else bids.chosen(np.flatnonzero(~bids.topic)), config)
    paths += drop.dimension_files(folder, generated.dimensions, micros(config.end))
    if files_only:
        paths += drop.json_files(folder, streams["impressions"], config)
    if replay is not None:
        paths += replay.write_files(folder, with_impressions=files_only)
    return len(paths)


def send_all(generated: Generated, replay: Replay | None, bootstrap: str, say: Callable[[str], None]) -> dict[str, int]:
    """Sends impressions and the topic's share of bid requests; returns how many on each topic."""
    bids = generated.delivered["bid_requests"].stream
    with delivering(bootstrap) as sender:
        say("Publishing impressions …")
        count = sender.send_stream("ad.impressions", generated.delivered["impressions"].stream)
        if replay is not None:
            count += sender.send_stream("ad.impressions", replay.impressions)
        say("Publishing bid requests …")
        asked = sender.send_stream("ad.bid_requests", bids.chosen(np.flatnonzero(bids.topic)))
    return {"ad.impressions": count, "ad.bid_requests": asked}


def identity(config: GeneratorConfig) -> dict[str, int]:
    """What makes two demos the same one; their end moves with the clock."""
    return {"seed": config.seed, "impressions": config.impressions, "days": config.days}


def read_note(places: Places) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads((places.state / NOTE).read_text())
    except FileNotFoundError:
        return None
    return note


def write_note(places: Places, note: Mapping[str, Any]) -> None:
    places.state.mkdir(parents=True, exist_ok=True)
    unfinished = places.state / f".{NOTE}.part"
    unfinished.write_text(json.dumps(note))
    unfinished.rename(places.state / NOTE)


def truth_of(places: Places) -> GroundTruth:
    """The truth of what was published."""
    return GroundTruth.load(places.state / TRUTH)
