"""A lake with bronze tables as landing makes them, for the real models: landing rows by hand, random ad traffic.

Belongs here: what tests of the real dbt project need to act on a lake. Not here: promises (test_models_*.py), what
the models should give (events_by_hand.py, credits_by_hand.py).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from small_lake import Row, SmallLake

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_delta.run import BuildReport, build
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import Settings, TransformSettings
from kafka_sinks.sources import Source, bronze_schema, load_sources

FIRST = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = 45  # longer than the longest look-back, so that windows begin and end inside
STEP = timedelta(hours=12)  # coarse, so that many touches lie exactly on the edge of a window
MODELS = (
    "silver.advertisers", "silver.campaigns", "silver.creatives", "silver.sites", "silver.fx_rates",
    "silver.impressions", "silver.clicks", "silver.conversions", "silver.bid_requests",
    "attribution.paths", "attribution.credits",
    "marts.campaign_daily", "marts.funnel_daily", "marts.auction_daily",
)  # fmt: skip
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class BronzeLake(SmallLake):
    """One lake in a folder, with the built-in sources and the product's own dbt project and contracts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(str(folder / "lake"))
        self.settings = Settings(lake=str(folder / "lake"), transform=TransformSettings(threads=1))
        self.offset = 0
        self.full_builds = 0
        self.sources: dict[str, Source] = load_sources()
        self.landed: dict[str, list[Row]] = {name: [] for name in self.sources}
        for source in self.sources:
            self.create(source)

    def create(self, source: str) -> DeltaTable:
        schema = bronze_schema(self.sources[source])
        return self.lake.create(TableName("bronze", source), schema, partition_by=["event_date"])

    def land(self, source: str, rows: Sequence[Row], *, added_column: str | None = None) -> None:
        """One commit of accepted rows, as a topic's; what a row says of its origin stays."""
        assert added_column is None, "the built-in sources have their columns"
        landed = []
        for row in rows:
            self.offset += 1
            origin = {"_topic": f"ad.{source}", "_partition": 0, "_offset": self.offset, "_batch": "b"}
            at = row.get("event_ts", FIRST)
            own = {"event_date": at.date(), "_landed_at": FIRST + timedelta(seconds=self.offset)}
            landed.append({**origin, "_synthetic_id": False, **own, **row})
        self.landed[source] += landed
        table = pa.Table.from_pylist(landed, schema=bronze_schema(self.sources[source]))
        write_deltalake(self.lake.open(TableName("bronze", source)), table, mode="append")

    def build(
        self,
        *,
        threads: int = 1,
        select: Sequence[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        target: str = "prod",
        full_refresh: bool = False,
        check: bool = True,
    ) -> BuildReport:
        self.settings.transform.threads = threads
        report = build(self.settings, select, target, variables, full_refresh, project=project_dir())
        return report.raise_if_failed() if check else report


class Traffic:
    """Random events of a small world in which everything meets: few users, few campaigns, coarse times."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.made = 0

    def moment(self) -> datetime:
        jitter = self.random.choice([0, 0, 0, 1, -1])
        return FIRST + STEP * self.random.randrange(1, 2 * DAYS) + timedelta(microseconds=jitter)

    def day(self) -> date:
        return (FIRST + timedelta(self.random.randrange(DAYS))).date()

    def dimensions(self) -> dict[str, list[Row]]:
        """Advertisers of three zones; campaigns and creatives that change in the middle; rates with gaps."""
        middle = FIRST + timedelta(DAYS // 2)
        return {
            "advertisers": [
                {"advertiser_id": "a0", "time_zone": "Europe/Berlin", "currency": "EUR"},
                {"advertiser_id": "a1", "time_zone": "America/Los_Angeles", "currency": "USD"},
                {"advertiser_id": "a1", "time_zone": "Asia/Kolkata", "currency": "INR", "valid_from": middle},
                {"advertiser_id": "a2", "time_zone": "Moon/Base"},
            ],
            "campaigns": [
                {"campaign_id": "c0", "advertiser_id": "a0"},
                {"campaign_id": "c1", "advertiser_id": "a0", "click_window_days": 7, "view_window_days": 7},
                {"campaign_id": "c2", "advertiser_id": "a1", "counting": "one", "click_window_days": 14},
                {"campaign_id": "c2", "advertiser_id": "a1", "click_window_days": 90, "valid_from": middle},
                {"campaign_id": "c3", "advertiser_id": "a2", "counting": "one", "view_window_days": 0},
            ],
            "creatives": [
                {"creative_id": "r0", "campaign_id": "c0"},
                {"creative_id": "r0", "campaign_id": "c1", "valid_from": middle},
                {"creative_id": "r1", "campaign_id": "c2"},
                {"creative_id": "r2", "campaign_id": "c3", "valid_to": middle},
            ],
            "sites": [{"site": "news.example", "publisher": "Press", "category": "IAB12"}],
            "fx_rates": [
                {"rate_date": (FIRST + timedelta(n)).date(), "currency": currency, "usd_per_unit": rate}
                for n in range(0, DAYS, 4)
                for currency, rate in (
                    ("EUR", Decimal("1.1") + Decimal(n) / 1000),
                    ("INR", Decimal("0.012") + Decimal(n) / 100000),
                )
            ],
        }

    def events(self, source: str, n: int) -> list[Row]:
        return [self.event(source) for _ in range(n)]

    def event(self, source: str) -> Row:
        random = self.random
        self.made += 1
        common = {
            "event_id": f"{source[0]}{self.made:05d}",
            "event_ts": self.moment(),
            "user_id": f"u{random.randrange(6)}",
            "user_agent": random.choice([BROWSER, BROWSER, BROWSER, BOT, None]),
            "currency": random.choice([None, "EUR", "usd", "GBP"]),
            "country": random.choice(["de", "US", None]),
        }
        campaign = {"campaign_id": f"c{random.randrange(5)}"}  # c4 is in no dimension
        if source == "impressions":
            return common | {
                "creative_id": f"r{random.randrange(4)}",
                "site": random.choice(["news.example", "News.Example ", "blog.example"]),
                "price_micros": random.choice([None, 1_000_000, 1_234_567]),
                "viewable": random.choice([None, True, False]),
            }
        if source == "clicks":
            price = random.choice([None, 250_001])
            return common | campaign | {"conversion_type": "click", "price_micros": price}
        if source == "conversions":
            return common | campaign | {
                "conversion_type": random.choice(["purchase", "signup"]),
                "order_id": random.choice([None, None, "", f"o{random.randrange(30)}"]),
                "status": random.choice([None, "completed", "completed", "Refunded", "cancelled"]),
                "revenue_micros": random.choice([None, 99_999_999, 10_000_001, -5_000_000]),
            }  # fmt: skip
        bid = random.choice([None, 2_000_000])
        won = bool(bid) and random.random() < 0.5
        return common | {
            "auction_id": f"x{self.made}",
            "site": "news.example",
            "bid_micros": bid,
            "won": won,
            "price_micros": 1_500_000 if won else None,
            "targeting": ["geo=de"],
            **(campaign if bid else {}),
        }

    def again(self, rows: Sequence[Row], n: int) -> list[Row]:
        """Some rows delivered again as they were, and some with the same id and another payload."""
        business = [
            {name: value for name, value in row.items() if not name.startswith("_") and name != "event_date"}
            for row in rows
        ]
        chosen = self.random.sample(business, n)
        other = [
            row | {"country": "FR", "event_ts": row["event_ts"] + timedelta(minutes=1)} for row in chosen[: n // 2]
        ]
        return [*chosen, *other, *chosen[:1]]

    def at_the_edges(self, conversions: Sequence[Row]) -> list[Row]:
        """Clicks of the same users exactly a window before, and a microsecond more."""
        clicks = []
        for row in conversions:
            for days in (7, 30):
                for more in (0, 1):
                    ts = row["event_ts"] - timedelta(days, microseconds=more)
                    same = {"user_id": row["user_id"], "campaign_id": row["campaign_id"], "event_ts": ts}
                    clicks.append(self.event("clicks") | same)
        return clicks

    def refunds(self, conversions: Sequence[Row]) -> list[Row]:
        """For some orders a part back within days, for some more than there was, for some too late."""
        back = []
        for at, row in enumerate(each for each in conversions if each["order_id"] and each["revenue_micros"]):
            event = self.event("conversions") | {name: row[name] for name in ("campaign_id", "order_id", "currency")}
            days, amount = ((3, -1_000_001), (30, -(10**9)), (31, -1))[at % 3]
            ts = row["event_ts"] + timedelta(days)
            back.append(event | {"status": "refunded", "revenue_micros": amount, "event_ts": ts})
        return back
