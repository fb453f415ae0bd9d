"""From facts to conditions, and what is hidden in their texts."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from ad_lakehouse.alerts import conditions as made
from ad_lakehouse.alerts.causes import fold_below
from ad_lakehouse.alerts.conditions import (
    AssetFreshness,
    Condition,
    FailedCheck,
    FailedConnector,
    FailedRun,
    PartitionLag,
)
from ad_lakehouse.alerts.pagerduty import LONGEST_KEY, dedup_key
from ad_lakehouse.alerts.redaction import Redactor
from ad_lakehouse.alerts.wording import spoken

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass(frozen=True)
class Fact:
    source: str
    state: Literal["fresh", "warn", "late", "missing"]
    newest: datetime | None
    window: timedelta = HOUR
    age: timedelta | None = None


def test_stale_sources_become_conditions_and_fresh_ones_do_not() -> None:
    facts = [
        Fact("impressions", "fresh", NOW),
        Fact("clicks", "warn", NOW - HOUR, age=HOUR),
        Fact("conversions", "late", NOW - 3 * HOUR, age=3 * HOUR),
        Fact("bid_requests", "missing", None),
    ]
    found = made.from_freshness(facts, NOW, owners={"bronze.clicks": "data"})
    assert [(each.key, each.severity, each.asset, each.owner) for each in found] == [
        ("freshness/clicks", "warning", "bronze.clicks", "data"),
        ("freshness/conversions", "error", "bronze.conversions", ""),
        ("freshness/bid_requests", "error", "bronze.bid_requests", ""),
    ]
    assert found[1].text == "The newest event is of 2026-03-02 09:00 UTC, 3 h ago; 1 h is the limit."


def test_pipeline_states_become_conditions_and_unknown_keeps_what_was() -> None:
    facts = [
        AssetFreshness("marts.a", "PASS", "FAIL"),
        AssetFreshness("marts.b", "FAIL", "PASS"),
        AssetFreshness("marts.c", "FAIL", "UNKNOWN"),
        AssetFreshness("marts.d", "UNKNOWN", "WARN"),
        AssetFreshness("marts.e", "PASS", "UNKNOWN"),
    ]
    assert [(each.key, each.severity) for each in made.from_asset_freshness(facts, NOW)] == [
        ("pipeline/marts.a", "error"),
        ("pipeline/marts.c", "error"),
        ("pipeline/marts.d", "warning"),
    ]


def test_lag_is_one_condition_a_topic_with_its_worst_partition_first() -> None:
    facts = [
        PartitionLag("ad.clicks", 0, 10, 10, None),
        PartitionLag("ad.clicks", 1, 10, 12, 20 * MINUTE),
        PartitionLag("ad.clicks", 2, 0, 5_000, 2 * HOUR),
        PartitionLag("ad.bids", 0, 0, 1, 16 * MINUTE),
        PartitionLag("ad.imps", 0, 0, 1, MINUTE),
    ]
    found = made.from_lag(facts, NOW, warn_after=15 * MINUTE, late_after=HOUR, assets={"ad.clicks": "bronze.clicks"})
    assert [(each.key, each.severity, each.asset) for each in found] == [
        ("lag/ad.bids", "warning", "ad.bids"),
        ("lag/ad.clicks", "error", "bronze.clicks"),
    ]
    assert found[1].text.splitlines() == [
        "partition 2: 5,000 records not landed, the oldest waits for 2 h",
        "partition 1: 2 records not landed, the oldest waits for 20 min",
    ]


def test_failed_checks_and_runs_become_conditions() -> None:
    check = FailedCheck("marts.campaign_daily", "spend_not_negative", "error", "3 rows")
    assert made.from_checks([check], NOW)[0].key == "check/marts.campaign_daily/spend_not_negative"
    run = made.from_runs([FailedRun("build", "abc", "DiskFull")], NOW)[0]
    assert (run.key, run.text) == ("run/build", "Run abc: DiskFull")


def test_staleness_gets_the_nearest_staleness_above_as_its_cause() -> None:
    def stale(key: str, asset: str) -> Condition:
        return Condition(key, "error", key, "", "", asset, "", NOW)

    upstream = {
        "silver.clicks": ["bronze.clicks"],
        "marts.campaign_daily": ["silver.clicks", "silver.impressions"],
        "silver.impressions": ["bronze.impressions"],
    }
    known = [
        stale("lag/ad.clicks", "bronze.clicks"),
        stale("freshness/clicks", "bronze.clicks"),
        stale("pipeline/silver.clicks", "silver.clicks"),
        stale("pipeline/marts.campaign_daily", "marts.campaign_daily"),
        stale("freshness/sites", "bronze.sites"),
        stale("check/silver.clicks/not_null", "silver.clicks"),
    ]
    assert {each.key: each.parent for each in fold_below(known, upstream)} == {
        "lag/ad.clicks": None,
        "freshness/clicks": "lag/ad.clicks",
        "pipeline/silver.clicks": "lag/ad.clicks",
        "pipeline/marts.campaign_daily": "pipeline/silver.clicks",
        "freshness/sites": None,
        "check/silver.clicks/not_null": None,
    }


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (timedelta(0), "0 s"), (timedelta(seconds=-5), "0 s"), (90 * MINUTE, "1 h 30 min"),
        (timedelta(days=2, minutes=1), "2 d 1 min"), (timedelta(seconds=3_661), "1 h 1 min"),
    ],
)  # fmt: skip
def test_durations_are_spoken(duration: timedelta, said: str) -> None:
    assert spoken(duration) == said


def test_every_form_of_a_secret_is_hidden_and_plain_words_are_not() -> None:
    redact = Redactor(
        [
            "xoxb-12-34", "https://hooks.slack.com/services/T00000000/B00000000/XXXXYYYYZZZZXXXXYYYYZZZZ",
            "https://user:pa55word@example.com/alerts?token=abc&format=markdown", "slack://TokenA99/TokenB99/TokenC9999",
            "https://example.com/a%2Fb-0123456789abcdef",
        ]
    )  # fmt: skip
    for text in (
        "Bearer xoxb-12-34", "url: /services/T00000000/B00000000/XXXXYYYYZZZZXXXXYYYYZZZZ", "T00000000", "pa55word",
        "TokenC9999 TokenB99 TokenA99", "?token=abc&", "a/b-0123456789abcdef",
    ):  # fmt: skip
        hidden = redact(text)
        assert "[hidden]" in hidden
        for secret in ("xoxb", "XXXXYYYY", "T0000", "pa55", "TokenC9", "TokenA", "=abc", "012345"):
            assert secret not in hidden, (text, hidden)
    assert (
        redact("alerts of services in markdown at hooks.slack.com")
        == "alerts of services in markdown at hooks.slack.com"
    )


def test_what_http_libraries_log_is_redacted_while_sending_and_only_then(caplog: pytest.LogCaptureFixture) -> None:
    redact = Redactor(["https://example.com/0123456789abcdef"])
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("urllib3.connectionpool")
    before = list(log.filters)  # of other libraries
    with redact.over_logs():
        log.debug("POST %s", "/0123456789abcdef")
        log.error("failed", exc_info=ValueError("0123456789abcdef"))
    assert "0123456789abcdef" not in caplog.text
    assert log.filters == before


def test_a_long_alert_key_stays_distinct_and_within_pagerdutys_limit() -> None:
    one, two = dedup_key("check/" + "x" * 300 + "1", "lake"), dedup_key("check/" + "x" * 300 + "2", "lake")
    assert one != two
    assert max(len(one), len(two)) <= LONGEST_KEY
    assert dedup_key("freshness/clicks", "lake") == "lake/freshness/clicks"


def test_failed_connectors_become_one_condition_each() -> None:
    found = made.from_connectors([FailedConnector("impressions", "task 0 on w: no")], NOW, owner="data")
    assert [(each.key, each.kind, each.severity, each.owner, each.text) for each in found] == [
        ("connector/impressions", "connector", "error", "data", "task 0 on w: no")
    ]
