"""Contracts and ledger on a lake that was landed and built for real.

Belongs here: that contracts fit the tables of this product, and that the ledger understands what landing and builds
record. Not here: each kind of check (tests/unit/test_quality_audit.py), each way to be off (tests/unit/test_ledger.py).
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import fastavro
import pytest

from ad_lakehouse.dbt_delta.run import build
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.files.replay import replay
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.views import connect, define_views
from ad_lakehouse.quality.audit import audit
from ad_lakehouse.quality.contracts import contract_paths, load_contract
from ad_lakehouse.quality.ledger import ledger_outcomes, write_ledger
from ad_lakehouse.settings import LandingSettings, Settings, TransformSettings
from kafka_sinks.sources import load_sources

NOW = datetime.now(UTC).replace(microsecond=0)
EVENTS = ("impressions", "clicks", "conversions")


def at(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def impression(number: int, **more: object) -> str:
    record = {
        "event_id": f"i{number}", "event_ts": at(30 + number / 10), "creative_id": "cr1", "user_id": f"u{number % 7}",
        "site": "news.example", "price_micros": 2_000_000, "viewable": number % 2 == 0, "country": "DE",
    }  # fmt: skip
    return json.dumps(record | more)


def write_drop(folder: Path) -> None:
    """Two days of impressions, clicks and conversions with duplicates and rejected records, and the dimensions."""
    rows = [impression(number) for number in range(40)]
    rows += [rows[3], impression(4, site="other.example"), impression(90, user_agent="Googlebot/2.1"), "{broken"]
    (folder / "impressions.jsonl").write_text("\n".join(rows) + "\n")
    mixed = ["event_ts,user_id,campaign_id,conversion_type,event_id,order_id,revenue_micros"]
    mixed += [f"{at(29)},u{number},c1,click,k{number},," for number in range(7)]
    mixed += [f"{at(28)},u{number},c1,purchase,p{number},o{number},{number}000000" for number in range(5)]
    mixed += [f"{at(27)},u0,c1,purchase,again,o0,1000000"]  # of the same order: does not count
    mixed += [mixed[1], f"{at(28)},u9,c1,teleport,x,,", "never,u9,c1,click,x,,"]
    (folder / "events.csv").write_text("\n".join(mixed) + "\n")
    bids = [
        {
            "event_id": f"b{number}", "event_ts": NOW - timedelta(hours=30), "user_id": f"u{number}",
            "auction_id": f"x{number}", "site": "news.example", "targeting": ["geo=DE"], "campaign_id": "c1",
            "bid_micros": 3_000_000, "won": number < 4, "price_micros": 2_000_000 if number < 4 else None,
        }
        for number in range(9)
    ]  # fmt: skip
    with (folder / "bids.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(dict(load_sources()["bid_requests"].schema)), bids)
    dimensions = folder / "dimensions"
    dimensions.mkdir()
    (dimensions / "advertisers.csv").write_text("advertiser_id,name,time_zone,currency\na1,One,Europe/Berlin,EUR\n")
    (dimensions / "campaigns.csv").write_text("campaign_id,advertiser_id,name\nc1,a1,Spring\n")
    (dimensions / "creatives.csv").write_text("creative_id,campaign_id\ncr1,c1\n")
    (dimensions / "sites.csv").write_text("site,publisher,country\nnews.example,Press,DE\n")
    (dimensions / "fx_rates.csv").write_text(
        f"rate_date,currency,usd_per_unit\n{NOW - timedelta(9):%Y-%m-%d},EUR,1.1\n"
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of files, landed and built once for all tests here, which do not change it."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "drop").mkdir()
    write_drop(folder / "drop")
    settings = Settings(lake=str(folder / "lake"), transform=TransformSettings(threads=2))
    lake = Lake(settings.lake)
    land_files(lake, load_sources(), folder / "drop", settings, settle_seconds=0)
    build(settings).raise_if_failed()
    return lake


@pytest.fixture
def views(built: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        define_views(connection, built)
        yield connection


@pytest.mark.parametrize("name", sorted(contract_paths()), ids=str)
def test_every_contract_fits_its_table_and_good_data_passes(
    built: Lake, views: duckdb.DuckDBPyConnection, name: TableName
) -> None:
    contract = load_contract(contract_paths()[name])
    assert name in built.tables(), "no such table was landed or built"
    there = {row[0] for row in views.execute(f"describe {name}").fetchall()}
    declared = {column.name for column in contract.columns}
    assert declared <= there
    assert {column for column in there - declared if not column.startswith("_")} == set(), "columns not in the contract"
    outcomes = audit(views, str(name), contract)
    assert [str(outcome) for outcome in outcomes if not outcome.passed and outcome.severity == "error"] == []


def test_every_table_has_a_contract(built: Lake) -> None:
    without = set(built.tables()) - set(contract_paths())
    assert {name for name in without if name.layer not in ("quality", "ops")} == set()


def test_the_ledger_understands_landing_and_builds(built: Lake) -> None:
    report = write_ledger(built)
    assert [str(row) for row in report.unbalanced] == []
    rows = {(row.table, row.subject): row for row in report.rows}
    impressions = rows["bronze.impressions", "impressions.jsonl"]
    assert (impressions.delivered, impressions.accepted, impressions.rejected) == (44, 43, 1)
    clicks, conversions = rows["bronze.clicks", "events.csv"], rows["bronze.conversions", "events.csv"]
    assert (clicks.delivered, clicks.rejected) == (10, 2)
    assert conversions.delivered == 6
    silver = [row for row in report.rows if row.kind == "silver_day" and row.table == "silver.impressions"]
    assert sum(row.collapsed for row in silver) == 1
    assert sum(row.delivered for row in silver) == 43
    credited = [row for row in report.rows if row.kind == "credits_day"]
    assert {row.subject[11:] for row in credited} == {
        f"{model} {traffic}"
        for model in ("last", "first", "linear", "position", "decay")
        for traffic in ("gross", "net")
    }
    assert sum(row.accepted for row in credited) == 5 * 10
    assert all(outcome.passed for outcome in ledger_outcomes(report.rows))


def test_a_replay_of_rejected_rows_stays_balanced(lake: Lake, tmp_path: Path) -> None:
    """An event time of three days ahead is rejected until the setting allows it."""
    (tmp_path / "impressions.jsonl").write_text("\n".join([impression(1), impression(2, event_ts=at(-72))]) + "\n")
    settings = Settings(lake=lake.root)
    land_files(lake, load_sources(), tmp_path, settings, settle_seconds=0)
    (before,) = write_ledger(lake).rows
    assert (before.accepted, before.rejected) == (1, 1)
    replay(lake, load_sources(), Settings(lake=lake.root, landing=LandingSettings(future_days=5)))
    (after,) = write_ledger(lake).rows
    assert (after.accepted, after.rejected, after.balanced) == (2, 0, True)


def test_a_file_that_feeds_two_tables_is_followed_in_both(lake: Lake, tmp_path: Path) -> None:
    rows = [f"{at(2)},u{number},c1,{'click' if number % 2 else 'purchase'}" for number in range(20)]
    (tmp_path / "events.csv").write_text("\n".join(["event_ts,user_id,campaign_id,conversion_type", *rows]) + "\n")
    settings = Settings(lake=lake.root, landing=LandingSettings(max_batch_rows=6))
    land_files(lake, load_sources(), tmp_path, settings, settle_seconds=0)
    report = write_ledger(lake)
    assert [str(row) for row in report.unbalanced] == []
    assert sum(row.delivered for row in report.rows if row.kind == "file") == 20
    (whole,) = [row for row in report.rows if row.kind == "split_file"]
    assert (whole.delivered, whole.accepted, whole.balanced) == (20, 20, True)
