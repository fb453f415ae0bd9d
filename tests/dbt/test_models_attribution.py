"""Attribution by the models equals attribution worked out by hand in plain Python, row for row."""

from collections import Counter
from pathlib import Path

import pytest
from bronze_lake import BronzeLake, Traffic
from credits_by_hand import all_credits
from events_by_hand import World, conversions

from ad_lakehouse.lake.views import connect, define_views

COLUMNS = (
    "event_date, conversion_id, model, traffic, touch_id, touch_type, campaign_id, position, path_length,"
    " credit_billionths, revenue_micros, currency, report_date"
)


@pytest.fixture(scope="module", params=[1, 2])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BronzeLake:
    """A lake of random traffic with every kind of trouble, all models built."""
    traffic = Traffic(request.param)
    lake = BronzeLake(tmp_path_factory.mktemp("lake"))
    for table, rows in traffic.dimensions().items():
        lake.land(table, rows)
    for source, n in (("impressions", 600), ("clicks", 60), ("conversions", 150), ("bid_requests", 60)):
        lake.land(source, traffic.events(source, n))
        lake.land(source, traffic.again(lake.landed[source], 12))
    lake.land("clicks", traffic.at_the_edges(lake.landed["conversions"][:8]))
    lake.land("conversions", traffic.refunds(lake.landed["conversions"][:60]))
    lake.build()
    return lake


def query(lake: BronzeLake, sql: str) -> list[tuple[object, ...]]:
    with connect() as connection:
        define_views(connection, lake.lake)
        return connection.execute(sql).fetchall()


def test_credits_of_all_models_equal_those_worked_out_by_hand(built: BronzeLake) -> None:
    found = Counter(query(built, f"select {COLUMNS} from attribution.credits"))
    expected = Counter(all_credits(built.landed))
    assert found - expected == Counter()
    assert expected - found == Counter()


def test_the_traffic_has_what_the_rules_are_about(built: BronzeLake) -> None:
    """Else the comparison above would prove little."""
    figures = query(
        built,
        """
        select
            count(*) filter (where touch_id is null),
            count(*) filter (where path_length > 3),
            (select count(*) from silver.conversions where refunded and order_revenue_micros > 0),
            (select count(*) from silver.conversions where refunded and order_revenue_micros = 0),
            count(*) filter (where traffic = 'gross' and touch_ts = conversion_ts - interval 30 day),
            count(*) filter (where touch_type = 'impression' and model = 'last'),
            count(*) filter (where credit_billionths not in (1000000000, 500000000, 250000000, 400000000))
        from attribution.credits
        """,
    )[0]
    reasons = query(built, "select distinct uncounted_reason from silver.conversions")
    assert all(figures), figures
    assert {reason for (reason,) in reasons} == {None, "adjustment", "same_order", "counted_once"}


def test_conversions_count_and_earn_as_worked_out_by_hand(built: BronzeLake) -> None:
    found = query(built, "select event_date, event_id, counted, order_revenue_micros from silver.conversions")
    expected = conversions(World(built.landed))
    assert set(found) == {(each.day, each.id, each.counted, each.order_revenue) for each in expected}
    assert len(found) == len(expected)


@pytest.mark.parametrize("source", ["impressions", "clicks", "conversions", "bid_requests"])
def test_each_landed_row_is_an_event_or_counted_as_a_duplicate(built: BronzeLake, source: str) -> None:
    landed = Counter(row["event_date"] for row in built.landed[source])
    kept = query(built, f"select event_date, sum(1 + natural_duplicates) from silver.{source} group by event_date")
    assert dict(kept) == landed
    assert query(built, f"select count(*) > 0 from silver.{source} where parent_event_id is not null") == [(True,)]


def test_reports_leave_nothing_out(built: BronzeLake) -> None:
    """Impressions, clicks, requests and earned credits of the marts are those of the tables they sum up."""
    (campaigns,) = query(
        built,
        "select sum(impressions), sum(clicks), sum(conversions_linear), sum(revenue_micros_decay),"
        " sum(clicks_net) from marts.campaign_daily",
    )
    (events,) = query(
        built,
        """
        select
            (select count(*) from silver.impressions), (select count(*) from silver.clicks),
            (select sum(cast(credit_billionths as decimal(28, 0)) * 0.000000001) from attribution.credits
             where model = 'linear' and traffic = 'gross' and campaign_id is not null),
            (select sum(revenue_micros) from attribution.credits
             where model = 'decay' and traffic = 'gross' and campaign_id is not null),
            (select count(*) from silver.clicks where ivt_reason is null)
        """,
    )
    assert campaigns == events
    (funnel,) = query(built, "select sum(bids), sum(impressions), sum(conversions) from marts.funnel_daily")
    (steps,) = query(
        built,
        "select (select count(*) from silver.bid_requests where has_bid), (select count(*) from silver.impressions),"
        " (select count(*) from silver.conversions where counted)",
    )
    assert funnel == steps
    assert query(built, "select sum(requests) from marts.auction_daily") == query(
        built, "select count(*) from silver.bid_requests"
    )


def test_an_empty_lake_gives_empty_tables(tmp_path: Path) -> None:
    lake = BronzeLake(tmp_path)
    lake.build()
    counts = "select (select count(*) from attribution.credits) + (select count(*) from marts.campaign_daily)"
    assert query(lake, counts) == [(0,)]
