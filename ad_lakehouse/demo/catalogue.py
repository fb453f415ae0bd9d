"""Who advertises what in the demo: advertisers, campaigns, creatives, sites, exchange rates, and their CSV files.

Belongs here: the fixed cast, and the dimension files written from it. Not here: users and events.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True)
class Advertiser:
    """Who pays. `countries`: where its users mostly are."""

    id: str
    name: str
    time_zone: str
    currency: str
    countries: tuple[str, ...]


@dataclass(frozen=True)
class Campaign:
    """What is bought. Windows and counting are None where the file leaves them to the product's defaults.

    `cpm` and `cpc` are micros of the advertiser's currency, per thousand impressions and per click; one of them is 0.
    `share` is its part of the advertiser's impressions, `appeal` a factor of its click rate.
    """

    id: str
    advertiser: str
    name: str
    click_window_days: int | None
    view_window_days: int | None
    counting: str | None
    cpm: int
    cpc: int
    share: float
    appeal: float


@dataclass(frozen=True)
class CreativeVersion:
    """Which campaign a creative belongs to from `valid_from` (inclusive) until `valid_to` (exclusive)."""

    id: str
    campaign: str
    format: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None


ADVERTISERS = (
    Advertiser("adv-hudson", "Hudson Outfitters", "America/New_York", "USD", ("US", "US", "CA")),
    Advertiser("adv-spree", "Spree Möbel", "Europe/Berlin", "EUR", ("DE", "DE", "AT")),
    Advertiser("adv-thames", "Thames Books", "Europe/London", "GBP", ("GB", "GB", "IE")),
    Advertiser("adv-sumida", "Sumida Travel", "Asia/Tokyo", "JPY", ("JP",)),
)
CAMPAIGNS = (
    Campaign("hudson-brand", "adv-hudson", "Hudson brand", 30, 1, "every", 4_200_000, 0, 0.5, 0.7),
    Campaign("hudson-boots", "adv-hudson", "Winter boots, sale", 7, 3, "every", 0, 640_000, 0.3, 1.6),
    Campaign("hudson-club", "adv-hudson", "Club sign-up", 30, 1, "one", 2_900_000, 0, 0.2, 1.0),
    Campaign("spree-sofas", "adv-spree", "Sofas", 30, 7, "every", 3_600_000, 0, 0.5, 0.9),
    Campaign("spree-search", "adv-spree", "Suche, „Regale“", 14, 1, "every", 0, 480_000, 0.3, 1.8),
    Campaign("spree-brand", "adv-spree", "Marke", None, None, None, 5_100_000, 0, 0.2, 0.5),
    Campaign("thames-fiction", "adv-thames", "New fiction", 14, 3, "every", 2_400_000, 0, 0.6, 1.1),
    Campaign("thames-reader", "adv-thames", "Reader app", 30, 0, "one", 0, 390_000, 0.4, 1.5),
    Campaign("sumida-onsen", "adv-sumida", "Onsen weekends", 30, 7, "every", 520_000_000, 0, 0.45, 0.9),
    Campaign("sumida-rail", "adv-sumida", "Rail passes", 7, 1, "every", 0, 62_000_000, 0.35, 1.4),
    Campaign("sumida-news", "adv-sumida", "Newsletter", 30, 1, "one", 380_000_000, 0, 0.2, 1.0),
)
FORMATS = ("banner", "native", "video")
MOVED_CREATIVE, MOVED_TO = "hudson-brand-native", "hudson-boots"
CATEGORIES = ("news", "sport", "weather", "recipes", "music", "travel", "games", "finance")
WORDS = ("daily", "city", "north", "open", "blue")
UNITS_PER_USD = {"USD": 1.0, "EUR": 0.92, "GBP": 0.79, "JPY": 151.0}


def sites() -> list[tuple[str, str, str, str]]:
    """Domain, publisher, category and country of each site."""
    countries = ("US", "DE", "GB", "JP")
    return [
        (f"{word}-{category}.example", f"{word.title()} Media", category, countries[place % 4])
        for word in WORDS
        for place, category in enumerate(CATEGORIES)
    ]


def creatives(moved_at: datetime) -> list[CreativeVersion]:
    """Three creatives a campaign; one of them moves to another campaign of its advertiser at `moved_at`."""
    versions = []
    for campaign in CAMPAIGNS:
        for form in FORMATS:
            name = f"{campaign.id}-{form}"
            if name == MOVED_CREATIVE:
                versions.append(CreativeVersion(name, campaign.id, form, None, moved_at))
                versions.append(CreativeVersion(name, MOVED_TO, form, moved_at, None))
            else:
                versions.append(CreativeVersion(name, campaign.id, form))
    return versions


def rate(currency: str, day: date) -> str:
    """US dollars for one unit of the currency on a day, with nine digits: a slow wave around a fixed value."""
    wave = 1 + 0.01 * math.sin(day.toordinal() / 5) if currency != "USD" else 1.0
    return f"{wave / UNITS_PER_USD[currency]:.9f}"


def dimension_files(first: date, last: date, moved_at: datetime) -> dict[str, str]:
    """File name → CSV text. Rates run from three days before `first` to `last`, with one day missing."""
    missing = ("GBP", first + (last - first) / 2)
    days = [first + timedelta(days=n) for n in range(-3, (last - first).days + 1)]
    rates = [
        (day.isoformat(), currency, rate(currency, day))
        for day in days
        for currency in UNITS_PER_USD
        if (currency, day) != missing
    ]
    flight = (first.isoformat(), (last + timedelta(days=30)).isoformat())
    return {
        "advertisers.csv": table(
            ("advertiser_id", "name", "time_zone", "currency"),
            ((each.id, each.name, each.time_zone, each.currency) for each in ADVERTISERS),
        ),
        "campaigns.csv": table(
            (
                "campaign_id",
                "advertiser_id",
                "name",
                "click_window_days",
                "view_window_days",
                "counting",
                "budget_micros",
                "flight_start",
                "flight_end",
            ),
            (
                (
                    each.id,
                    each.advertiser,
                    each.name,
                    each.click_window_days,
                    each.view_window_days,
                    each.counting,
                    budget(each),
                    *flight,
                )
                for each in CAMPAIGNS
            ),
        ),
        "creatives.csv": table(
            ("creative_id", "campaign_id", "name", "format", "valid_from", "valid_to"),
            (
                (each.id, each.campaign, f"{each.id} 300x250", each.format, iso(each.valid_from), iso(each.valid_to))
                for each in creatives(moved_at)
            ),
        ),
        "sites.csv": table(("site", "publisher", "category", "country"), sites()),
        "fx_rates.csv": table(("rate_date", "currency", "usd_per_unit"), rates),
    }


def budget(campaign: Campaign) -> int:
    """A budget of 20,000 US dollars, in micros of the advertiser's currency."""
    currency = next(each.currency for each in ADVERTISERS if each.id == campaign.advertiser)
    return int(20_000 * UNITS_PER_USD[currency]) * 1_000_000


def iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV text; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
