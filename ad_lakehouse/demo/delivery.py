"""How events reach the lake: redelivered, contradicting, late, without id, with unknown fields, or broken.

Belongs here: from a table of events to the stream of records a source delivers, with the fate of each. Not here: how
a record is written (wire.py) or broken (troubles.py), topics and files (publish.py).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad_lakehouse.demo.population import Ints, Population
from ad_lakehouse.demo.traffic import HOUR, SECOND, Table, stacked, take
from ad_lakehouse.demo.troubles import Trouble

Mask = NDArray[np.bool_]
EVENT, DUPLICATE, CONFLICTING = "event", "duplicate", "conflicting"
DUPLICATES, CONFLICTS, LATE, WITHOUT_ID, UNKNOWN_FIELDS, BROKEN = 0.008, 0.002, 0.015, 0.005, 0.01, 0.0002
LATEST = 72 * HOUR
AT_LEAST = 2  # of each trouble, however little traffic there is


@dataclass(frozen=True)
class Stream:
    """Records of one source in the order they arrive.

    `stamps`: the time each record carries (Kafka's timestamp), `arrivals`: when it came; microseconds. `fates`: what
    each is: event, duplicate, conflicting (an event that shares its id with another), or the reason to reject it.
    `topic`: whether it goes to the topic where a source has both; `topic_only`: no file can hold it.
    """

    payloads: list[bytes]
    keys: list[bytes]
    stamps: Ints
    arrivals: Ints
    fates: list[str]
    topic: Mask
    topic_only: Mask

    def chosen(self, places: NDArray[Any]) -> "Stream":
        """Some of the records, in the order given."""
        numbers = places.tolist()
        return Stream(
            [self.payloads[each] for each in numbers],
            [self.keys[each] for each in numbers],
            self.stamps[places],
            self.arrivals[places],
            [self.fates[each] for each in numbers],
            self.topic[places],
            self.topic_only[places],
        )

    def fate_counts(self) -> Counter[str]:
        return Counter(self.fates)


@dataclass(frozen=True)
class Delivered:
    """What a source delivers, and the events in it: `table` has a row for each that must be accepted, once."""

    stream: Stream
    table: Table


def picked(rng: np.random.Generator, among: Mask, share: float) -> Ints:
    """`share` of all rows, of those that may be picked; a few at least."""
    places = np.flatnonzero(among)
    return np.sort(rng.permutation(places)[: max(AT_LEAST, round(share * len(among)))])


def deliver(
    rng: np.random.Generator,
    end: int,
    people: Population,
    table: Table,
    encode: Callable[[Table, Population], list[bytes]],
    troubles: Sequence[Trouble],
    *,
    bare: dict[str, int] | None = None,
    may_be_bare: Mask | None = None,
) -> Delivered:
    """All that a source sends until `end`.

    `bare`: columns that a record without id does not have, with the value for none. `may_be_bare`: the rows that may
    be sent without id and share one with another event.
    """
    table = marked(rng, people, table, bare or {}, may_be_bare)
    count = len(table["ts"])
    late = picked(rng, (table["ts"] < end - 2 * HOUR) & ~table["conflicting"], LATE)
    arrivals = np.minimum(table["ts"] + (rng.exponential(0.4, count) * SECOND).astype(np.int64), end - 1)
    longest = np.minimum(LATEST, end - 1 - table["ts"][late])
    arrivals[late] = table["ts"][late] + HOUR + (rng.random(len(late)) * (longest - HOUR)).astype(np.int64)
    stamps = table["ts"].copy()
    stamps[late] = arrivals[late]
    table["late"] = np.isin(np.arange(count), late)
    good = Stream(
        encode(table, people),
        [people.ids[each].encode() for each in table["user"].tolist()],
        stamps,
        arrivals,
        [CONFLICTING if each else EVENT for each in table["conflicting"].tolist()],
        table.get("topic", np.ones(count, dtype=np.bool_)),
        np.zeros(count, dtype=np.bool_),
    )
    again = redelivered(rng, end, good.chosen(picked(rng, np.ones(count, dtype=np.bool_), DUPLICATES)))
    whole = joined([good, again, *broken(rng, good, ~table["no_id"] & ~table["conflicting"], troubles)])
    return Delivered(whole.chosen(np.argsort(whole.arrivals, kind="stable")), table)


def marked(
    rng: np.random.Generator, people: Population, table: Table, bare: dict[str, int], may_be_bare: Mask | None
) -> Table:
    """The table with columns for what is odd about a row, and the conflicting events as rows of their own."""
    count = len(table["ts"])
    allowed = np.ones(count, dtype=np.bool_) if may_be_bare is None else may_be_bare
    table = {name: values.copy() for name, values in table.items()}
    for name in ("no_id", "unknown", "conflicting"):
        table[name] = np.zeros(count, dtype=np.bool_)
    table["variant"] = np.zeros(count, dtype=np.int64)
    # Not a bot's: a record without its user agent could not be told from a person's.
    without = picked(rng, allowed & (table["agent"] < people.first_bot_agent), WITHOUT_ID)
    table["no_id"][without] = True
    for name, nothing in bare.items():
        table[name][without] = nothing
    table["unknown"][picked(rng, ~table["no_id"], UNKNOWN_FIELDS)] = True
    twins = take(table, picked(rng, allowed & ~table["no_id"], CONFLICTS))
    twins["variant"] = np.ones(len(twins["ts"]), dtype=np.int64)
    twins["conflicting"] = np.ones(len(twins["ts"]), dtype=np.bool_)
    return stacked(table, twins)


def redelivered(rng: np.random.Generator, end: int, stream: Stream) -> Stream:
    """The same records once more, up to six hours later."""
    wait = (rng.random(len(stream.payloads)) * 6 * HOUR).astype(np.int64) + SECOND
    arrivals = np.minimum(stream.arrivals + wait, end - 1)
    fates = [DUPLICATE] * len(stream.payloads)
    return Stream(stream.payloads, stream.keys, arrivals, arrivals, fates, stream.topic, stream.topic_only)


def broken(rng: np.random.Generator, good: Stream, whole: Mask, troubles: Sequence[Trouble]) -> list[Stream]:
    """For each trouble some records, broken copies of good ones that arrive right behind them."""
    streams = []
    for trouble in troubles:
        places = picked(rng, whole & (good.topic if trouble.topic_only else True), BROKEN)
        base = good.chosen(places)
        streams.append(
            Stream(
                [trouble.breaks(each) for each in base.payloads],
                base.keys,
                base.arrivals,
                base.arrivals,
                [trouble.reason] * len(places),
                base.topic,
                np.full(len(places), trouble.topic_only),
            )
        )
    return streams


def joined(streams: Sequence[Stream]) -> Stream:
    return Stream(
        [payload for each in streams for payload in each.payloads],
        [key for each in streams for key in each.keys],
        np.concatenate([each.stamps for each in streams]),
        np.concatenate([each.arrivals for each in streams]),
        [fate for each in streams for fate in each.fates],
        np.concatenate([each.topic for each in streams]),
        np.concatenate([each.topic_only for each in streams]),
    )
