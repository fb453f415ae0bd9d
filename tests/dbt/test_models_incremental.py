"""The real models, built bit by bit as traffic arrives late, equal a build from nothing."""

import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from bronze_lake import FIRST, MODELS, BronzeLake, Traffic

from ad_lakehouse.dbt_delta.run import BuildReport

SEEDS = [int(seed) for seed in os.environ.get("AD_LAKEHOUSE_TEST_SEEDS", "3").split()]


def same_as_from_nothing(lake: BronzeLake) -> None:
    full = lake.build_aside()
    for name in MODELS:
        assert lake.differences(name, full) == [], name


def rebuilt(report: BuildReport) -> dict[str, object]:
    """Days rebuilt by table; None: all."""
    return {each.name: each.figures["days_rebuilt"] for each in report.results}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", SEEDS)
def test_models_built_as_traffic_arrives_equal_a_build_from_nothing(tmp_path: Path, seed: int) -> None:
    traffic = Traffic(seed)
    lake = BronzeLake(tmp_path)
    for table, rows in traffic.dimensions().items():
        lake.land(table, rows)
    sources = ("impressions", "clicks", "conversions", "bid_requests")
    for source in sources:
        lake.land(source, traffic.events(source, 120))
    lake.build()
    for threads in (1, 4):
        for source in sources:
            lake.land(source, traffic.events(source, 3))
            lake.land(source, traffic.again(lake.landed[source], 4))
        lake.build(threads=threads)
    same_as_from_nothing(lake)
    lake.land("campaigns", [{"campaign_id": "c0", "advertiser_id": "a1", "valid_from": FIRST + timedelta(30)}])
    lake.land("fx_rates", [row | {"usd_per_unit": 2} for row in traffic.dimensions()["fx_rates"][-2:]])
    lake.land("conversions", traffic.events("conversions", 1))
    lake.build()
    same_as_from_nothing(lake)
    versions = lake.versions()
    lake.build()
    assert lake.versions() == versions


@pytest.mark.timeout(300)
def test_a_late_event_rebuilds_the_days_that_may_depend_on_it(tmp_path: Path) -> None:
    """One impression touches its day and the view windows after it; one conversion the orders around it."""
    traffic = Traffic(5)
    lake = BronzeLake(tmp_path)
    for source in ("impressions", "clicks", "conversions"):
        lake.land(source, traffic.events(source, 120))
    lake.land("creatives", [{"creative_id": "r0", "campaign_id": "c0"}])
    lake.build()
    lake.land("impressions", [traffic.event("impressions") | {"creative_id": "r0", "event_ts": FIRST + timedelta(20)}])
    days = rebuilt(lake.build())
    assert days["silver.impressions"] == 1
    assert days["attribution.paths"] == 8
    assert days["silver.conversions"] == 0
    assert days["marts.campaign_daily"] == 3
    lake.land("conversions", [traffic.event("conversions") | {"order_id": None, "event_ts": FIRST + timedelta(20)}])
    report = lake.build()
    days = rebuilt(report)
    assert days["silver.conversions"] == 61
    assert lake.days_committed("silver.conversions", 1) == {date(2026, 6, 21)}
    assert days["attribution.paths"] == 1
    same_as_from_nothing(lake)


def test_dropping_the_same_dimensions_again_rebuilds_no_events(tmp_path: Path) -> None:
    traffic = Traffic(6)
    lake = BronzeLake(tmp_path)
    for table, rows in traffic.dimensions().items():
        lake.land(table, rows)
    lake.land("clicks", traffic.events("clicks", 20))
    lake.build()
    for table, rows in traffic.dimensions().items():
        lake.land(table, rows)
    days = rebuilt(lake.build())
    assert days["silver.campaigns"] is None
    assert days["silver.clicks"] == 0
