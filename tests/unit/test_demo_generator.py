"""The demo's traffic: the same from the same seed, with every trouble in it, and counted right.

The recount reads the produced bytes with other parsers than those that land them, and knows nothing of how they were
made.
"""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import fastavro
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler

from ad_lakehouse.demo.avro_bids import BID_SCHEMAS, container
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.delivery import Stream
from ad_lakehouse.demo.generate import Generated, generate
from ad_lakehouse.demo.traffic import rows
from ad_lakehouse.errors import ConfigurationError

END = datetime(2026, 3, 10, 15, 30, 12, 345678, tzinfo=UTC)
CONFIG = GeneratorConfig(END, impressions=20_000)
CRAWLERS = {agent for each in CRAWLER_USER_AGENTS_DATA for agent in each["instances"]}
IMPRESSION_FIELDS = {
    "event_id", "event_ts", "creative_id", "user_id", "site", "url", "auction_id", "viewable", "price_micros",
    "currency", "ip", "user_agent", "country", "device",
}  # fmt: skip
CSV_FIELDS = (
    "event_ts", "user_id", "campaign_id", "conversion_type", "event_id", "creative_id", "impression_id", "order_id",
    "status", "revenue_micros", "price_micros", "currency", "url", "ip", "user_agent", "country", "device", "placement",
)  # fmt: skip
CONVERSION_TYPES = {"purchase", "signup", "lead", "install", "add_to_cart", "subscribe"}


@pytest.fixture(scope="module")
def generated() -> Generated:
    return generate(CONFIG)


class Unfit(Exception):
    """A record that must be rejected; its text is the reason."""


def moment(value: Any) -> datetime:
    """An event time as a producer may write it; must lie near the demo."""
    try:
        found = (
            datetime.fromtimestamp(value / 1_000_000, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
        )
    except (ValueError, TypeError):
        raise Unfit("invalid_type") from None
    if not END - timedelta(days=400) < found < END + timedelta(days=1):
        raise Unfit("event_time_out_of_range")
    return found


def read_impression(payload: bytes) -> dict[str, Any]:
    if not payload:
        raise Unfit("empty")
    try:
        record = json.loads(payload)
    except ValueError:
        raise Unfit("invalid_json") from None
    if not isinstance(record, dict):
        raise Unfit("not_a_record")
    if not {"event_ts", "creative_id", "user_id", "site"} <= set(record):
        raise Unfit("missing_field")
    if not isinstance(record.get("viewable", True), bool) or not isinstance(record.get("price_micros", 0), int):
        raise Unfit("invalid_type")
    unknown = set(record) - IMPRESSION_FIELDS
    return record | {"ts": moment(record["event_ts"]), "unknown": unknown}


def read_csv(payload: bytes) -> dict[str, Any]:
    try:
        (fields,) = csv.reader(io.StringIO(payload.decode()), strict=True)
    except (csv.Error, ValueError):
        raise Unfit("invalid_csv") from None
    if len(fields) != len(CSV_FIELDS) or '"' in "".join(fields[:3]):
        raise Unfit("invalid_csv")
    record: dict[str, Any] = {name: value for name, value in zip(CSV_FIELDS, fields, strict=True) if value}
    if "user_id" not in record:
        raise Unfit("missing_field")
    if record["conversion_type"] not in {"click", *CONVERSION_TYPES}:
        raise Unfit("unknown_type")
    if not record.get("price_micros", "0").isdigit():
        raise Unfit("invalid_type")
    return record | {"ts": moment(record["event_ts"]), "unknown": {"placement"} & set(record)}


def read_bid(payload: bytes) -> dict[str, Any]:
    if payload[:1] != b"\0":
        raise Unfit("invalid_avro")
    number = int.from_bytes(payload[1:5], "big")
    if number not in BID_SCHEMAS:
        raise Unfit("unknown_schema")
    body = io.BytesIO(payload[5:])
    try:
        record: Any = fastavro.schemaless_reader(body, BID_SCHEMAS[number], None)
    except (EOFError, IndexError, ValueError):
        raise Unfit("invalid_avro") from None
    if body.read():
        raise Unfit("invalid_avro")
    moment(int(record["event_ts"].timestamp() * 1_000_000))
    known = {name: value for name, value in record.items() if value is not None}
    return known | {"ts": record["event_ts"], "unknown": {"deal_id"} & set(known)}


def recounted(stream: Stream, read: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
    """The numbers of a SourceTruth, from the bytes."""
    rejected: Counter[str] = Counter()
    first: dict[bytes, tuple[dict[str, Any], int]] = {}
    accepted = 0
    for payload, stamp in zip(stream.payloads, stream.stamps.tolist(), strict=True):
        try:
            record = read(payload)
        except Unfit as unfit:
            rejected[str(unfit)] += 1
            continue
        accepted += 1
        first.setdefault(payload, (record, stamp))
    records = [record for record, _ in first.values()]
    ids = Counter(record["event_id"] for record in records if "event_id" in record)
    behind = [stamp / 1_000_000 - record["ts"].timestamp() for record, stamp in first.values()]
    assert max(behind) <= 72 * 3600 + 1
    return {
        "sent": len(stream.payloads),
        "unique": len(first),
        "natural_duplicates": accepted - len(first),
        "conflicting": sum(count - 1 for count in ids.values()),
        "rejected": dict(sorted(rejected.items())),
        "late": sum(each >= 3599.9 for each in behind),
        "bots": sum(record.get("user_agent") in CRAWLERS for record in records),
        "without_id": sum("event_id" not in record for record in records),
        "unknown_fields": sum(bool(record["unknown"]) for record in records),
    }


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("impressions", read_impression),
        ("clicks", read_csv),
        ("conversions", read_csv),
        ("bid_requests", read_bid),
    ],
)
def test_a_recount_of_the_bytes_gives_the_truth_and_every_trouble_occurs(
    generated: Generated, source: str, read: Callable[[bytes], dict[str, Any]]
) -> None:
    truth = asdict(generated.truth().sources[source])
    assert recounted(generated.delivered[source].stream, read) == truth
    absent = {name for name, count in truth.items() if not count}
    assert absent == ({"bots"} if source == "conversions" else set())
    reasons = {
        "impressions": {"empty", "invalid_json", "invalid_type", "missing_field", "not_a_record"},
        "clicks": {"invalid_csv", "invalid_type", "missing_field", "unknown_type"},
        "conversions": {"invalid_type", "missing_field"},
        "bid_requests": {"invalid_avro", "unknown_schema"},
    }
    assert set(truth["rejected"]) == {"event_time_out_of_range", *reasons[source]}


def test_the_same_config_gives_the_same_bytes_and_another_seed_others(generated: Generated) -> None:
    again, other = generate(CONFIG), generate(replace(CONFIG, seed=8))
    for source, delivered in generated.delivered.items():
        assert again.delivered[source].stream.payloads == delivered.stream.payloads
        assert not set(other.delivered[source].stream.payloads) & set(delivered.stream.payloads) - {b""}
    assert again.truth() == generated.truth()
    assert again.dimensions == generated.dimensions


def test_orders_with_two_records_refunds_and_organic_conversions_are_counted(generated: Generated) -> None:
    truth = generated.truth().conversions
    records = {
        payload: read_csv(payload)
        for payload, fate in zip(
            generated.delivered["conversions"].stream.payloads,
            generated.delivered["conversions"].stream.fates,
            strict=True,
        )
        if fate in {"event", "conflicting"}
    }
    states = Counter(record.get("status", "") for record in records.values())
    orders = Counter(record["order_id"] for record in records.values() if record.get("status") == "completed")
    assert truth.records == len(records)
    assert truth.undone == states["refunded"] + states["cancelled"]
    assert truth.order_repeats == sum(count - 1 for count in orders.values())
    assert truth.records == truth.counted + truth.order_repeats + truth.undone + truth.not_counted
    assert min(states["refunded"], states["cancelled"], truth.order_repeats, truth.not_counted, truth.organic) > 0
    assert truth.organic_net >= truth.organic


def test_campaigns_of_the_truth_add_up_to_its_sources(generated: Generated) -> None:
    truth = generated.truth()
    campaigns = truth.campaigns.values()
    for source in ("impressions", "clicks"):
        unique, bots = truth.sources[source].unique, truth.sources[source].bots
        assert sum(getattr(each, source) for each in campaigns) == unique
        assert sum(getattr(each, f"{source}_net") for each in campaigns) == unique - bots
    assert sum(each.conversions for each in campaigns) == truth.conversions.counted
    assert sum(each.last for each in campaigns) + truth.conversions.organic == truth.conversions.counted
    assert sum(each.last_net for each in campaigns) + truth.conversions.organic_net == truth.conversions.counted
    assert sum(each.organic for each in campaigns) == truth.conversions.organic


def test_clicks_before_their_impression_are_counted(generated: Generated) -> None:
    shown = {}
    for payload, fate in zip(*fates_of(generated, "impressions"), strict=True):
        if fate == "event":
            record = read_impression(payload)
            shown[record.get("event_id", "none")] = record["ts"]
    clicked = [read_csv(payload) for payload, fate in zip(*fates_of(generated, "clicks"), strict=True) if fate in KEPT]
    early = [each for each in clicked if each["ts"] < shown.get(each.get("impression_id"), each["ts"])]
    assert len(early) == generated.truth().clicks_before_impression > 0


KEPT = {"event", "conflicting"}


def fates_of(generated: Generated, source: str) -> tuple[list[bytes], list[str]]:
    stream = generated.delivered[source].stream
    return stream.payloads, stream.fates


def test_user_agents_of_bots_are_known_crawlers_and_those_of_people_are_not(generated: Generated) -> None:
    people = generated.traffic.people
    assert not [agent for agent in people.agents[: people.first_bot_agent] if is_crawler(agent)]
    assert [agent for agent in people.agents[people.first_bot_agent :] if is_crawler(agent)] == people.agents[
        people.first_bot_agent :
    ]


def test_users_meet_ads_repeatedly_in_a_daily_rhythm(generated: Generated) -> None:
    seen = generated.traffic.impressions
    met = Counter(seen["user"].tolist())
    assert {1, 2, 3, 5, 8, 10} <= set(met.values())
    hours = Counter(datetime.fromtimestamp(ts / 1_000_000, UTC).hour for ts in seen["ts"].tolist())
    assert max(hours.values()) > 2 * min(hours.values())
    days = {ts // 86_400_000_000 for ts in seen["ts"].tolist()}
    assert len(days) == CONFIG.days


def test_nothing_arrives_after_the_end_and_streams_are_in_order_of_arrival(generated: Generated) -> None:
    _, end = CONFIG.span
    for delivered in generated.delivered.values():
        arrivals = delivered.stream.arrivals.tolist()
        assert max(arrivals) < end
        assert all(before <= after for before, after in pairwise(arrivals))
        assert max(delivered.stream.stamps.tolist()) < end


def test_a_won_auction_is_not_an_impression_and_each_impression_was_won(generated: Generated) -> None:
    won: dict[int, int] = defaultdict(int)
    for auction, outcome in rows(generated.traffic.bids, "auction", "won"):
        won[auction] += outcome == 1
    shown = set(generated.traffic.impressions["auction"].tolist())
    assert all(won[auction] == 1 for auction in shown)
    assert sum(won.values()) > len(shown)
    assert len(won) > sum(won.values())


def test_container_files_hold_the_records_that_topics_carry(generated: Generated) -> None:
    framed = [each for each in generated.delivered["bid_requests"].stream.payloads if each[:5] == b"\0\0\0\0\2"]
    whole = [each for each in framed if isinstance(decoded(each), dict)]
    file = io.BytesIO(b"".join(container(2, whole)))
    assert list(fastavro.reader(file)) == [decoded(each) for each in whole]
    assert len(whole) > 100


def decoded(payload: bytes) -> object:
    try:
        return fastavro.schemaless_reader(io.BytesIO(payload[5:]), BID_SCHEMAS[2], None)
    except (EOFError, IndexError, ValueError):
        return None


def test_without_a_broker_undecodable_messages_are_neither_sent_nor_counted(generated: Generated) -> None:
    truth = generated.truth(files_only=True)
    assert set(truth.sources["bid_requests"].rejected) == {"event_time_out_of_range"}
    assert truth.sources["bid_requests"].unique == generated.truth().sources["bid_requests"].unique
    assert truth.sources["impressions"] == generated.truth().sources["impressions"]


def test_dimensions_name_every_campaign_creative_and_site_and_a_creative_moves_once(generated: Generated) -> None:
    tables = {name: list(csv.DictReader(io.StringIO(text))) for name, text in generated.dimensions.items()}
    shown = [read_impression(p) for p, fate in zip(*fates_of(generated, "impressions"), strict=True) if fate == "event"]
    assert {each["creative_id"] for each in shown} == {each["creative_id"] for each in tables["creatives.csv"]}
    assert {each["site"] for each in shown} <= {each["site"] for each in tables["sites.csv"]}
    (moved,) = (name for name, count in Counter(e["creative_id"] for e in tables["creatives.csv"]).items() if count > 1)
    before, after = (each for each in tables["creatives.csv"] if each["creative_id"] == moved)
    assert before["valid_to"] == after["valid_from"] != ""
    assert before["campaign_id"] != after["campaign_id"]
    assert {each["currency"] for each in tables["advertisers.csv"]} == {"USD", "EUR", "GBP", "JPY"}
    assert {each["counting"] for each in tables["campaigns.csv"]} == {"one", "every", ""}


@pytest.mark.parametrize(
    "wrong",
    [{"impressions": 10}, {"days": 1}, {"days": 99}, {"end": datetime(2026, 3, 10, tzinfo=UTC).replace(tzinfo=None)}],
)
def test_a_config_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        replace(CONFIG, **wrong)
