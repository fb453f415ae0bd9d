"""Events, touches and conversions, worked out in plain Python from landed rows: no SQL, no macro, no shared code.

Belongs here: the rules as one would explain them, slow and obvious (loops over all pairs, fractions). Not here: credits
(credits_by_hand.py), the comparison (test_models_attribution.py).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)
PAYLOADS = {
    "impressions": "event_ts creative_id user_id site url auction_id viewable price_micros currency ip user_agent"
    " country device consent",
    "clicks": "event_ts user_id campaign_id conversion_type creative_id impression_id url price_micros currency ip"
    " user_agent country device consent",
    "conversions": "event_ts user_id campaign_id conversion_type order_id status revenue_micros currency ip user_agent"
    " country device consent",
}
CLICK_DAYS, VIEW_DAYS, MAX_CLICK, MAX_VIEW, HORIZON = 30, 1, 30, 7, 30


@dataclass(frozen=True)
class Touch:
    id: str
    kind: str
    ts: datetime
    user: str
    campaign: str
    owner: tuple[str, str]
    days: int
    bot: bool


@dataclass
class Conversion:
    id: str
    ts: datetime
    user: str
    campaign: str
    owner: tuple[str, str]
    action: str
    order: str | None
    adjusts: bool
    cancels: bool
    revenue: int | None
    landed_revenue: int | None
    counting: str
    click_days: int
    currency: str
    report_date: date
    counted: bool = False
    order_revenue: int = 0

    @property
    def day(self) -> date:
        return self.ts.date()

    def before(self, other: "Conversion") -> bool:
        return (self.ts, self.id) < (other.ts, other.id)


def micros(ts: datetime) -> int:
    return (ts - EPOCH) // timedelta(microseconds=1)


def one_text(values: Iterable[Any]) -> str:
    """Each value with its length before it."""
    texts = []
    for value in values:
        if value is None:
            texts.append("-")
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        else:
            text = str(micros(value)) if isinstance(value, datetime) else str(value)
        texts.append(f"{len(text)}:{text}")
    return "".join(texts)


def events(source: str, landed: Sequence[Row]) -> list[Row]:
    """Landed rows as events: equal ones once, of different ones under one id the first keeps the id."""
    same_id: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for row in landed:
        same_id[row["event_date"], row["event_id"]].append(row)
    found = []
    for (day, event_id), rows in same_id.items():
        payloads: dict[str, Row] = {}
        for row in sorted(rows, key=lambda row: (row["event_ts"], row["_topic"], row["_partition"], row["_offset"])):
            payload = one_text(row.get(name) for name in PAYLOADS[source].split())
            if payload not in payloads:
                own = event_id
                if payloads:
                    own = hashlib.sha256(f"{day}|{event_id}|{payload}".encode()).hexdigest()
                payloads[payload] = row | {"event_id": own}
        found += payloads.values()
    return found


@dataclass
class World:
    """The dimensions, as they landed."""

    landed: dict[str, list[Row]]
    versions: dict[tuple[str, str], list[tuple[datetime, datetime, Row]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table, key in (
            ("advertisers", "advertiser_id"),
            ("campaigns", "campaign_id"),
            ("creatives", "creative_id"),
        ):
            newest: dict[tuple[str, datetime], Row] = {}
            for row in sorted(self.landed[table], key=lambda row: (row["_landed_at"], row["_offset"])):
                newest[row[key], row.get("valid_from") or EPOCH] = row
            for (name, start), row in newest.items():
                later = [each for other, each in newest if other == name and each > start]
                end = min([row.get("valid_to") or END, *later])
                self.versions.setdefault((table, name), []).append((start, end, row))

    def at(self, table: str, name: str | None, ts: datetime) -> Row | None:
        versions = self.versions.get((table, name or ""), [])
        return next((row for start, end, row in versions if start <= ts < end), None)

    def context(self, campaign: str | None, ts: datetime) -> Row:
        """What the campaign says about an event."""
        found = self.at("campaigns", campaign, ts) or {}
        advertiser_id = found.get("advertiser_id")
        now = self.at("advertisers", advertiser_id, ts) or {}
        zone = now.get("time_zone") or "UTC"
        zone = "UTC" if zone == "Moon/Base" else zone
        report_date = ts.astimezone(ZoneInfo(zone)).date()
        then = self.at("advertisers", advertiser_id, datetime.combine(report_date, time(), UTC)) or now
        return {
            "owner": ("advertiser", advertiser_id) if advertiser_id else ("campaign", campaign or ""),
            "click_days": min(given(found.get("click_window_days"), CLICK_DAYS), MAX_CLICK),
            "view_days": min(given(found.get("view_window_days"), VIEW_DAYS), MAX_VIEW),
            "counting": found.get("counting") or "every",
            "currency": then.get("currency") or "USD",
            "report_date": report_date,
        }

    def rate(self, currency: str, day: date) -> Fraction | None:
        if currency == "USD":
            return Fraction(1)
        known = [row for row in self.landed["fx_rates"] if row["currency"] == currency and row["rate_date"] <= day]
        return Fraction(max(known, key=lambda row: row["rate_date"])["usd_per_unit"]) if known else None

    def money(self, amount: int | None, given_currency: str | None, own: str, day: date) -> int | None:
        currency = (given_currency or own).upper()
        if amount is None or currency == own:
            return amount
        one, other = self.rate(currency, day), self.rate(own, day)
        if one is None or other is None:
            return None
        exact = amount * one / other
        whole = int(abs(exact) + Fraction(1, 2))
        return whole if exact >= 0 else -whole


def given(value: Any, default: int) -> int:
    return default if value is None else int(value)


def touches(world: World) -> list[Touch]:
    found = []
    for row in events("impressions", world.landed["impressions"]):
        creative = world.at("creatives", row["creative_id"], row["event_ts"])
        if creative:
            found.append(touch(world, row, "impression", creative["campaign_id"]))
    clicks = events("clicks", world.landed["clicks"])
    return found + [touch(world, row, "click", row["campaign_id"]) for row in clicks]


def touch(world: World, row: Row, kind: str, campaign: str) -> Touch:
    context = world.context(campaign, row["event_ts"])
    days = context["click_days"] if kind == "click" else context["view_days"]
    bot = "Googlebot" in (row.get("user_agent") or "")
    return Touch(row["event_id"], kind, row["event_ts"], row["user_id"], campaign, context["owner"], days, bot)


def conversions(world: World) -> list[Conversion]:
    """All records, those that count marked and with their revenue after refunds."""
    found = [record(world, row) for row in events("conversions", world.landed["conversions"])]
    completed = [each for each in found if not each.adjusts]
    for each in completed:
        order = any(
            other.before(each) and (other.day - each.day).days >= -HORIZON
            for other in completed
            if each.order and other.order == each.order and other.owner == each.owner
        )
        once = each.counting == "one" and any(
            other.before(each) and each.ts - other.ts <= timedelta(each.click_days)
            for other in completed
            if (other.user, other.campaign, other.action) == (each.user, each.campaign, each.action)
        )
        each.counted = not order and not once
    for each in found:
        if each.counted:
            takes = [
                other
                for other in found
                if other.adjusts and each.order and (other.order, other.owner) == (each.order, each.owner)
                and 0 <= (other.day - each.day).days <= HORIZON
            ]  # fmt: skip
            revenue = each.revenue or 0
            each.order_revenue = revenue - min(revenue, sum(abs(other.revenue or 0) for other in takes))
            if any(other.cancels or not other.landed_revenue for other in takes):
                each.order_revenue = 0
    return found


def record(world: World, row: Row) -> Conversion:
    context = world.context(row["campaign_id"], row["event_ts"])
    landed = row.get("revenue_micros")
    status = (row.get("status") or "completed").lower()
    return Conversion(
        row["event_id"], row["event_ts"], row["user_id"], row["campaign_id"], context["owner"], row["conversion_type"],
        row.get("order_id") or None, status in {"cancelled", "refunded"} or (landed or 0) < 0, status == "cancelled",
        world.money(landed, row.get("currency"), context["currency"], row["event_ts"].date()), landed,
        context["counting"], context["click_days"], context["currency"], context["report_date"],
    )  # fmt: skip
