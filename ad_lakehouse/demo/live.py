"""Traffic that goes on: fresh events on the demo's topics until it is stopped, so that a user sees data move.

Belongs here: one stream of events at a steady rate, with a trouble now and then. Not here: the demo's own traffic
(traffic.py), whose truth is known; of live events nothing is kept.
"""

import heapq
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from ad_lakehouse.demo.avro_bids import bid_records
from ad_lakehouse.demo.catalogue import CAMPAIGNS, FORMATS
from ad_lakehouse.demo.drop import write_registry
from ad_lakehouse.demo.population import populate
from ad_lakehouse.demo.topics import create_topics, delivering
from ad_lakehouse.demo.traffic import CAMPAIGN_IDS, CREATIVE_IDS, CURRENCIES, SITES, Table, new_ids, rows
from ad_lakehouse.demo.troubles import BID_TROUBLES, IMPRESSION_TROUBLES, Trouble
from ad_lakehouse.demo.wire import csv_row, impression_records, iso_times
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import Settings

TICK = 0.25  # seconds between two handfuls of events
SECOND = 1_000_000
BROKEN, AGAIN = 0.004, 0.005
CLICKED, CONVERTED = 0.04, 0.25
CLICK_WAIT, CONVERSION_WAIT = (2, 20), (20, 90)  # seconds
IMPRESSIONS_OF_POPULATION = 40_000  # as many users as the demo would have for these

Record = tuple[int, str, bytes, bytes]  # due (microseconds), topic, payload, key


class LiveTraffic:
    """Makes events for a moment; what follows later (clicks, conversions, redeliveries) waits until it is due."""

    def __init__(self, seed: int | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._people = populate(self._rng, IMPRESSIONS_OF_POPULATION, "live-")
        self._waiting: list[Record] = []

    def due(self, now: int, views: int) -> list[Record]:
        """`views` fresh auctions with their impressions at `now`, and what is due of earlier ones."""
        if views:
            self._view(now, views)
        found = []
        while self._waiting and self._waiting[0][0] <= now:
            found.append(heapq.heappop(self._waiting))
        return found

    def _view(self, now: int, count: int) -> None:
        rng, people = self._rng, self._people
        user = rng.integers(0, len(people.ids), count)
        creative = rng.integers(0, len(CREATIVE_IDS), count)
        campaign = creative // len(FORMATS)
        price = np.array([each.cpm or each.cpc * 4 for each in CAMPAIGNS])[campaign]
        table: Table = {
            "id": new_ids(rng, count),
            "ts": now - rng.integers(0, int(TICK * SECOND), count),
            "user": user,
            "creative": creative,
            "campaign": campaign,
            "site": rng.integers(0, len(SITES), count),
            "auction": new_ids(rng, count),
            "viewable": rng.choice([1, 0], count, p=[0.7, 0.3]),
            "price": price,
            "agent": people.agent[user],
            "no_id": np.zeros(count, dtype=np.bool_),
            "unknown": rng.random(count) < 0.01,
            "variant": np.zeros(count, dtype=np.int64),
        }
        auction = {"floor": price // 2, "bid": price * 3 // 2, "won": np.ones(count, dtype=np.int64)}
        self._send(now, "ad.bid_requests", bid_records(table | auction, people), table, BID_TROUBLES)
        self._send(now, "ad.impressions", impression_records(table, people), table, IMPRESSION_TROUBLES)
        for place in np.flatnonzero(rng.random(count) < CLICKED).tolist():
            self._click(now, {name: values[place : place + 1] for name, values in table.items()})

    def _send(self, now: int, topic: str, payloads: list[bytes], table: Table, troubles: tuple[Trouble, ...]) -> None:
        """Gives the records out now; some broken, some once more a little later."""
        chance = self._rng.random(len(payloads)).tolist()
        for payload, user, luck in zip(payloads, table["user"].tolist(), chance, strict=True):
            key = self._people.ids[user].encode()
            if luck < BROKEN:
                trouble = troubles[int(luck / BROKEN * len(troubles))]
                heapq.heappush(self._waiting, (now, topic, trouble.breaks(payload), key))
                continue
            heapq.heappush(self._waiting, (now, topic, payload, key))
            if luck > 1 - AGAIN:
                heapq.heappush(self._waiting, (now + 5 * SECOND, topic, payload, key))

    def _later(self, wait: tuple[int, int]) -> int:
        return int(self._rng.integers(wait[0] * SECOND, wait[1] * SECOND))

    def _click(self, now: int, view: Table) -> None:
        """A click on one impression, as `ad.clicks` has it, and perhaps the conversion after it."""
        people = self._people
        ((event, user, creative, campaign, agent),) = rows(view, "id", "user", "creative", "campaign", "agent")
        clicked = now + self._later(CLICK_WAIT)
        name, currency = CAMPAIGN_IDS[campaign], CURRENCIES[campaign]
        price = CAMPAIGNS[campaign].cpc or None
        client = (people.address[user], people.agents[agent], people.country[user], people.device[user], None)
        start = (iso(clicked), people.ids[user], name, "click", f"c{event:016x}", CREATIVE_IDS[creative])
        row = csv_row(*start, f"i{event:016x}", f"https://shop.example/{name}", price, price and currency, *client)
        heapq.heappush(self._waiting, (clicked, "ad.clicks", row, people.ids[user].encode()))
        if self._rng.random() < CONVERTED and agent < people.first_bot_agent:
            done = clicked + self._later(CONVERSION_WAIT)
            revenue = int(self._rng.integers(20, 200)) * CAMPAIGNS[campaign].cpc or 30 * SECOND
            bought = (f"v{event:016x}", f"o{event:016x}", "completed", revenue, currency)
            row = csv_row(iso(done), people.ids[user], name, "purchase", *bought, *client)
            heapq.heappush(self._waiting, (done, "ad.conversions", row, people.ids[user].encode()))


def iso(moment: int) -> str:
    return iso_times({"ts": np.array([moment])})[0]


def live(
    settings: Settings,
    events_per_second: float,
    duration: float | None = None,
    *,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Sends events until `stop` is set, SIGINT or SIGTERM comes, or `duration` seconds are over; returns how many.

    Topics and schemas that are not there are created. All that was sent is on the broker when this returns.
    """
    bootstrap, registry = settings.kafka.bootstrap_servers, settings.kafka.schema_registry
    if not bootstrap:
        raise ConfigurationError("Live events need a broker.", remedy="Set AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS.")
    if registry and "://" not in registry:
        write_registry(Path(registry))
    create_topics(bootstrap)
    traffic = LiveTraffic()
    with stopped_by_signals(stop or threading.Event()) as stopping, delivering(bootstrap) as sender:
        begun = told = time.monotonic()
        views = 0.0
        given = 0
        while not stopping.wait(TICK):
            passed = time.monotonic() - begun
            if duration is not None and passed >= duration:
                break
            views = passed * events_per_second / 2  # a view is two records: the auction and the impression
            now = time.time_ns() // 1_000
            for due, topic, payload, key in traffic.due(now, int(views) - given):
                sender.send(topic, payload, key, due // 1_000)
            given = int(views)
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                say(f"{sender.sent:,} events sent, {sender.sent / passed:,.0f} a second")
    return sender.sent


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event while this lasts; only where signals may be caught, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def caught(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
