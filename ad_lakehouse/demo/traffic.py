"""What the users of the demo see and do: impressions, clicks, conversions, and the auctions behind them.

Belongs here: real events, as columns of numbers. Not here: how they are written and what goes wrong on their way
(wire.py, troubles.py), what should come out (truth.py).

An event is a row over the columns of its table. Users, creatives, campaigns, sites and agents are numbers into their
lists; times are microseconds since 1970; -1 is no value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad_lakehouse.demo.catalogue import ADVERTISERS, CAMPAIGNS, FORMATS, MOVED_CREATIVE, MOVED_TO, UNITS_PER_USD, sites
from ad_lakehouse.demo.config import DAY, GeneratorConfig, micros
from ad_lakehouse.demo.population import Ints, Population, populate

Table = dict[str, NDArray[Any]]
HOUR, SECOND = 3_600_000_000, 1_000_000
CAMPAIGN_IDS = [each.id for each in CAMPAIGNS]
CREATIVE_IDS = [f"{campaign}-{form}" for campaign in CAMPAIGN_IDS for form in FORMATS]
ADVERTISER_OF = np.array([[each.id for each in ADVERTISERS].index(each.advertiser) for each in CAMPAIGNS])
CURRENCIES = [ADVERTISERS[place].currency for place in ADVERTISER_OF]
SITES = [each[0] for each in sites()]
UNITS = np.array([UNITS_PER_USD[ADVERTISERS[place].currency] for place in ADVERTISER_OF])
LOCAL_DAY = np.array([3, 2, 1, 1, 1, 2, 4, 7, 9, 9, 9, 10, 11, 10, 9, 9, 10, 11, 13, 15, 16, 14, 10, 6], dtype=float)
WEEK = np.array([1.0, 1.0, 1.0, 1.0, 1.05, 0.85, 0.9])
NO_BOT_ACTS_FOR_A_USER = 0.99  # a page preview or a prefetching proxy with the user's id, but a bot's agent
CLICK_RATE, CLICK_TO_CONVERSION, VIEW_TO_CONVERSION, ORGANIC = 0.02, 0.12, 0.0014, 0.0008
KINDS = {"hudson-club": "signup", "sumida-news": "subscribe", "thames-reader": "install"}
OTHER_KINDS = ("purchase", "purchase", "purchase", "purchase", "lead", "add_to_cart")


@dataclass(frozen=True)
class Traffic:
    """All that really happened. Tables are in order of time."""

    people: Population
    impressions: Table
    clicks: Table
    conversions: Table
    bids: Table


def make_traffic(config: GeneratorConfig) -> Traffic:
    """The traffic of a demo; the same config gives the same traffic."""
    rng = np.random.default_rng([config.seed, 1])
    people = populate(rng, config.impressions, f"u{config.seed:x}-")
    seen = impressions(rng, config, people)
    clicked = clicks(rng, config, people, seen)
    done = conversions(rng, config, people, seen, clicked)
    return Traffic(people, seen, clicked, done, bids(rng, seen))


def take(table: Table, rows: NDArray[Any], **changed: NDArray[Any]) -> Table:
    """Some rows, with columns replaced."""
    return {name: values[rows] for name, values in table.items()} | changed


def rows(table: Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Plain values, row by row. A part at a time: a Python number takes four times an array's."""
    count = len(table[names[0]])
    for first in range(0, count, 20_000):
        yield from zip(*(table[name][first : first + 20_000].tolist() for name in names), strict=True)


def stacked(*tables: Table) -> Table:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def in_order(table: Table) -> Table:
    return take(table, np.argsort(table["ts"], kind="stable"))


def new_ids(rng: np.random.Generator, count: int) -> Ints:
    """Numbers that never meet: 62 random bits."""
    return rng.integers(0, 1 << 62, count)


def times(rng: np.random.Generator, config: GeneratorConfig, hours_from_utc: Ints) -> Ints:
    """Event times with a week and, by each user's clock, a day in them."""
    first, end = config.span
    hours = np.arange(-(-(end - first) // HOUR))
    weekday = (config.start.weekday() + hours // 24) % 7
    covered = np.minimum(1.0, (end - first - hours * HOUR) / HOUR)
    weight = LOCAL_DAY[hours % 24] * WEEK[weekday] * covered
    chosen = rng.choice(hours, len(hours_from_utc), p=weight / weight.sum())
    local = chosen * HOUR + (rng.random(len(chosen)) * covered[chosen] * HOUR).astype(np.int64)
    moments: Ints = first + (local - hours_from_utc * HOUR) % (end - first)
    return moments


def priced(rng: np.random.Generator, micros_of: list[int], campaign: Ints) -> Ints:
    """A price around the campaign's; -1 where it does not pay for this."""
    base = np.array(micros_of)[campaign]
    return np.where(base > 0, (base * rng.lognormal(0, 0.25, len(campaign))).astype(np.int64), -1)


def impressions(rng: np.random.Generator, config: GeneratorConfig, people: Population) -> Table:
    count = config.impressions
    user = rng.choice(len(people.ids), count, p=people.weight / people.weight.sum())
    ts = times(rng, config, people.hours[user])
    advertiser = np.where(rng.random(count) < 0.65, people.home[user], rng.integers(0, len(ADVERTISERS), count))
    campaign = np.zeros(count, dtype=np.int64)
    for place in range(len(ADVERTISERS)):
        mine, theirs = np.flatnonzero(advertiser == place), np.flatnonzero(np.equal(ADVERTISER_OF, place))
        share = np.array([CAMPAIGNS[each].share for each in theirs])
        campaign[mine] = rng.choice(theirs, len(mine), p=share / share.sum())
    creative = campaign * len(FORMATS) + rng.integers(0, len(FORMATS), count)
    moved = (creative == CREATIVE_IDS.index(MOVED_CREATIVE)) & (ts >= micros(config.moved_at))
    campaign[moved] = CAMPAIGN_IDS.index(MOVED_TO)
    popularity = 1 / np.arange(1, len(SITES) + 1) ** 0.7
    agent = people.agent[user]
    borrowed = np.flatnonzero(rng.random(count) > NO_BOT_ACTS_FOR_A_USER)
    agent[borrowed] = people.first_bot_agent + rng.integers(0, people.bots, len(borrowed))
    return in_order(
        {
            "id": new_ids(rng, count),
            "ts": ts,
            "user": user,
            "creative": creative,
            "campaign": campaign,
            "site": rng.choice(len(popularity), count, p=popularity / popularity.sum()),
            "auction": new_ids(rng, count),
            "viewable": rng.choice([1, 0, -1], count, p=[0.64, 0.26, 0.10]),
            "price": priced(rng, [each.cpm for each in CAMPAIGNS], campaign),
            "agent": agent,
        }
    )


def clicks(rng: np.random.Generator, config: GeneratorConfig, people: Population, seen: Table) -> Table:
    """Clicks some seconds after their impression; a few, by a client's clock, before it."""
    appeal = np.array([each.appeal for each in CAMPAIGNS])[seen["campaign"]]
    chance = CLICK_RATE * appeal * np.array([0.3, 1.2, 1.0])[seen["viewable"]]  # -1 is the last
    chance = np.where(seen["agent"] >= people.first_bot_agent, chance * 5, chance)
    chosen = np.flatnonzero(rng.random(len(chance)) < chance)
    wait = ((1.5 + rng.lognormal(2.0, 0.9, len(chosen))) * SECOND).astype(np.int64)
    early = rng.permutation(len(chosen))[: max(3, len(chosen) // 170)]
    wait[early] = -rng.integers(SECOND, 30 * SECOND, len(early))
    ts = seen["ts"][chosen] + wait
    table = {name: seen[name][chosen] for name in ("user", "creative", "campaign", "site", "agent")} | {
        "id": new_ids(rng, len(chosen)),
        "ts": ts,
        "impression": seen["id"][chosen],
        "early": wait < 0,
        "price": priced(rng, [each.cpc for each in CAMPAIGNS], seen["campaign"][chosen]),
    }
    return in_order(take(table, np.flatnonzero((ts < config.span[1]) & (ts >= config.span[0]))))


def conversions(
    rng: np.random.Generator, config: GeneratorConfig, people: Population, seen: Table, clicked: Table
) -> Table:
    """Actions after clicks, after views and of their own accord; repeated, refunded and cancelled orders among them."""
    end = config.span[1]
    human = np.flatnonzero(people.agent[clicked["user"]] < people.first_bot_agent)
    by_click = human[rng.random(len(human)) < CLICK_TO_CONVERSION]
    viewed = np.flatnonzero((seen["viewable"] == 1) & (people.agent[seen["user"]] < people.first_bot_agent))
    by_view = viewed[rng.random(len(viewed)) < VIEW_TO_CONVERSION]
    walk_in = rng.permutation(np.flatnonzero(people.agent < people.first_bot_agent))
    walk_in = walk_in[: max(12, int(config.impressions * ORGANIC))]
    user = np.concatenate([clicked["user"][by_click], seen["user"][by_view], walk_in])
    elsewhere = (people.home[walk_in] + rng.integers(1, len(ADVERTISERS), len(walk_in))) % len(ADVERTISERS)
    advertiser = np.concatenate(
        [ADVERTISER_OF[clicked["campaign"][by_click]], ADVERTISER_OF[seen["campaign"][by_view]], elsewhere]
    )
    campaign = np.concatenate([clicked["campaign"][by_click], seen["campaign"][by_view], np.full(len(walk_in), -1)])
    booked_elsewhere = (rng.random(len(campaign)) < 0.2) | (campaign < 0)
    sibling = np.array([rng.choice(np.flatnonzero(np.equal(ADVERTISER_OF, each))) for each in advertiser])
    campaign = np.where(booked_elsewhere, sibling, campaign)
    after_click = clicked["ts"][by_click] + 90 * SECOND + (rng.exponential(1.2, len(by_click)) * DAY).astype(np.int64)
    after_view = seen["ts"][by_view] + 300 * SECOND + (rng.exponential(0.4, len(by_view)) * DAY).astype(np.int64)
    ts = np.concatenate([after_click, after_view, times(rng, config, people.hours[walk_in])])
    kinds = [
        KINDS.get(CAMPAIGN_IDS[each], OTHER_KINDS[pick])
        for each, pick in zip(campaign, rng.integers(0, len(OTHER_KINDS), len(campaign)), strict=True)
    ]
    kind = np.array(kinds, dtype=object)
    bought = kind == "purchase"
    revenue = (rng.lognormal(4.0, 0.6, len(ts)) * UNITS[campaign] * 100).astype(np.int64) * 10_000
    first = {
        "id": new_ids(rng, len(ts)),
        "ts": ts,
        "user": user,
        "campaign": campaign,
        "kind": kind,
        "order": np.where(bought, new_ids(rng, len(ts)), -1),
        "status": np.where(bought, "completed", "").astype(object),
        "revenue": np.where(bought, revenue, -1),
        "agent": people.agent[user],
    }
    first = take(first, np.flatnonzero(ts < end))
    return in_order(stacked(first, *followers(rng, end, first)))


def followers(rng: np.random.Generator, end: int, first: Table) -> list[Table]:
    """Later records: a pixel that fires twice for one order, refunds, cancellations, a second sign-up."""
    orders, actions = np.flatnonzero(first["order"] >= 0), np.flatnonzero(np.isin(first["kind"], list(KINDS.values())))

    def later(among: Ints, share: float, least: float, most: float, **changed: Any) -> Table:
        """`share` of the rows again, `least` to `most` days later, with an id of their own."""
        room = among[first["ts"][among] + int(least * DAY) < end]
        rows = rng.permutation(room)[: max(3, int(share * len(among)))]
        latest = np.minimum(most, (end - 1 - first["ts"][rows]) / DAY)
        ts = first["ts"][rows] + ((least + rng.random(len(rows)) * (latest - least)) * DAY).astype(np.int64)
        filled = {name: np.full(len(rows), value, dtype=object) for name, value in changed.items()}
        return take(first, rows, ts=ts, id=new_ids(rng, len(rows)), **filled)

    undone = [later(orders, 0.05, 0.4, 4, status="refunded"), later(orders, 0.03, 0.02, 1, status="cancelled")]
    for table in undone:
        table["revenue"] = -table["revenue"]
    return [later(orders, 0.04, 2e-5, 1e-3), *undone, later(actions, 0.08, 0.01, 0.3)]


def bids(rng: np.random.Generator, seen: Table) -> Table:
    """The auctions of all impressions, some that were won without one, and lost ones, some of them without a bid."""
    count = len(seen["ts"])
    unseen = rng.integers(0, count, count // 50)
    lost = rng.integers(0, count, count * 3 // 10)
    rows = np.concatenate([np.arange(count), unseen, lost])
    fresh = len(unseen) + len(lost)
    auction = np.concatenate([seen["auction"], new_ids(rng, fresh)])
    ts = seen["ts"][rows] - rng.integers(40_000, 250_000, len(rows))
    ts[count:] -= rng.integers(0, 600 * SECOND, fresh)
    base = np.array([each.cpm or 40 * each.cpc / 10 for each in CAMPAIGNS])[seen["campaign"][rows]]
    price = np.where(seen["price"][rows] > 0, seen["price"][rows], (base * 0.9).astype(np.int64))
    bid = (price * (1 + rng.random(len(rows)) * 0.6)).astype(np.int64)
    won = np.ones(len(rows), dtype=np.int64)
    won[count + len(unseen) :] = 0
    silent = np.flatnonzero((won == 0) & (rng.random(len(rows)) < 0.2))
    won[silent], bid[silent] = -1, -1
    return in_order(
        take(seen, rows)
        | {
            "id": new_ids(rng, len(rows)),
            "ts": ts,
            "auction": auction,
            "floor": (price * 0.6).astype(np.int64),
            "bid": bid,
            "won": won,
            "price": np.where(won == 1, price, -1),
            "topic": seen["site"][rows] % 2 == 0,
        }
    )
