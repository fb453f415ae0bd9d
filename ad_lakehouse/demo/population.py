"""The users of the demo and what is fixed about each: where, on which device, behind which user agent.

Belongs here: users and user agents, bots among them. Not here: what they see and do (traffic.py).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad_lakehouse.demo.catalogue import ADVERTISERS

Ints = NDArray[np.int64]
IMPRESSIONS_A_USER = 14  # on average, so that paths of one to ten touches are common
BOT_SHARE = 0.008
BOTS_KNOWN = 40  # user agents of bots in use
UTC_HOURS = {"US": -5, "CA": -5, "DE": 1, "AT": 1, "GB": 0, "IE": 0, "JP": 9}
BROWSERS: dict[str, tuple[str, ...]] = {
    "desktop": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 "
        "Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{m} "
        "Safari/605.1.15",
        "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    ),
    "mobile": (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.{m} Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Mobile "
        "Safari/537.36",
    ),
    "tablet": (
        "Mozilla/5.0 (iPad; CPU OS 17_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{m} "
        "Mobile/15E148 Safari/604.1",
    ),
}


@dataclass(frozen=True)
class Population:
    """Users by number. `agent` is a number into `agents`, whose last `bots` are bots'. `home`: advertiser number."""

    ids: list[str]
    weight: NDArray[np.float64]
    home: Ints
    country: list[str]
    device: list[str]
    address: list[str]
    agent: Ints
    agents: list[str]
    bots: int
    hours: Ints

    @property
    def first_bot_agent(self) -> int:
        return len(self.agents) - self.bots


def bot_agents(rng: np.random.Generator) -> list[str]:
    """Real user agents of real bots."""
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    known = sorted({agent for each in CRAWLER_USER_AGENTS_DATA for agent in each["instances"] if agent})
    return [known[place] for place in rng.choice(len(known), BOTS_KNOWN, replace=False)]


def populate(rng: np.random.Generator, impressions: int, prefix: str) -> Population:
    """A population for so many impressions; ids begin with `prefix`."""
    count = max(60, impressions // IMPRESSIONS_A_USER)
    agents: list[str] = []
    of_device: dict[str, range] = {}
    for kind, forms in BROWSERS.items():
        filled = [form.format(v=v, m=v % 6) for form in forms for v in range(118, 127)]
        of_device[kind] = range(len(agents), len(agents) + len(filled))
        agents += filled
    crawlers = bot_agents(rng)
    is_bot = rng.random(count) < BOT_SHARE
    is_bot[:2] = True
    home = rng.integers(0, len(ADVERTISERS), count)
    names = list(of_device)
    device = [names[place] for place in rng.choice(len(names), count, p=[0.45, 0.47, 0.08])]
    agent = np.array([rng.choice(of_device[each]) for each in device])
    agent[is_bot] = len(agents) + rng.integers(0, len(crawlers), int(is_bot.sum()))
    country = [place[pick % len(place)] for place, pick in _countries(rng, home)]
    bits = rng.integers(0, 1 << 32, count)
    return Population(
        ids=[f"{prefix}{number:06x}" for number in range(count)],
        weight=rng.gamma(0.8, 1.0, count) + 0.05 + 2.0 * is_bot,
        home=home,
        country=country,
        device=device,
        address=[_address(*each) for each in zip(bits.tolist(), is_bot.tolist(), strict=True)],
        agent=agent,
        agents=agents + crawlers,
        bots=len(crawlers),
        hours=np.array([UTC_HOURS[each] for each in country]),
    )


def _countries(rng: np.random.Generator, home: Ints) -> list[tuple[tuple[str, ...], Any]]:
    """For each user the countries to choose from, mostly those of the home advertiser, and a number to choose by."""
    abroad = np.where(rng.random(len(home)) < 0.1, rng.integers(0, len(ADVERTISERS), len(home)), home)
    picks = rng.integers(0, 1 << 16, len(home))
    return [(ADVERTISERS[place].countries, pick) for place, pick in zip(abroad, picks, strict=True)]


def _address(bits: int, bot: bool) -> str:
    """An address nobody has: of the benchmark and documentation ranges (RFC 2544, 3849, 5737)."""
    if bot:
        return f"203.0.113.{bits % 254 + 1}"
    if bits % 5 < 2:
        return f"2001:db8::{bits >> 16:x}:{bits & 0xFFFF:x}"
    return f"198.{18 + (bits >> 16) % 2}.{(bits >> 8) % 256}.{bits % 254 + 1}"
