"""Sensors that start landing and building, and what they ask the instance (the contract with Dagster's inner parts)."""

import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, freeze_time
from dagster._time import get_current_datetime
from dagster_lake import DagsterLake, Ticks, impressions
from landing_topics import impression, new_topic, publish

from ad_lakehouse.defs.alerts import Seen, Watched, look_at_kafka
from ad_lakehouse.defs.instance_facts import (
    failed_checks,
    failed_runs,
    pipeline_states,
    unfinished_since,
)
from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.settings import KafkaSettings, LandingSettings
from kafka_sinks.lag import topic_lag
from kafka_sinks.sink import land_topic
from kafka_sinks.sources import load_sources

pytestmark = pytest.mark.usefixtures("target")
LEDGER_OF_IMPRESSIONS = dg.AssetCheckKey(asset_key("bronze.impressions"), "ledger")


def selected(answer: Any) -> set[str]:
    assert isinstance(answer, dg.RunRequest), answer
    return {".".join(key.path) for key in answer.asset_selection or []}


def test_a_dropped_file_starts_landing_of_its_table_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    site = DagsterLake.at(tmp_path)
    tick = Ticks(site, instance, "land_what_is_new")
    assert tick().tags == {"ad_lakehouse/why": "verify"}
    assert isinstance(tick(), dg.SkipReason)
    site.drop("one.jsonl", impressions(2))
    answer = tick()
    assert selected(answer) == {"bronze.impressions", "quality.ledger"}
    assert LEDGER_OF_IMPRESSIONS in answer.asset_check_keys
    assert {key.asset_key for key in answer.asset_check_keys} == {asset_key("bronze.impressions")}
    assert isinstance(tick(), dg.SkipReason)
    with freeze_time(get_current_datetime() + timedelta(minutes=20)):
        assert tick().tags == {"ad_lakehouse/why": "verify"}


def test_nothing_is_started_while_a_run_of_the_job_is_in_progress_unless_it_is_dead(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    site = DagsterLake.at(tmp_path)
    create_run_for_test(instance, job_name="land", status=dg.DagsterRunStatus.STARTED)
    tick = Ticks(site, instance, "land_what_is_new")
    assert "in progress" in str(tick().skip_message)
    with freeze_time(get_current_datetime() + timedelta(hours=3)):
        assert isinstance(tick(), dg.RunRequest)


def test_what_landed_starts_a_build_of_what_reads_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    site = DagsterLake.at(tmp_path)
    tick = Ticks(site, instance, "build_what_is_stale")
    assert "nothing has landed" in str(tick().skip_message)
    site.drop("one.jsonl", impressions(2))
    site.run(instance, "land", "bronze.impressions", "quality.ledger")
    assert tick().tags == {"ad_lakehouse/why": "verify"}
    assert isinstance(tick(), dg.SkipReason)
    site.drop("two.jsonl", impressions(2, first=10))
    site.run(instance, "land", "bronze.impressions", "quality.ledger")
    answer = tick()
    assert selected(answer) == {"silver.shown", "marts.site_daily", "marts.site_totals"}
    assert {key.name for key in answer.asset_check_keys} == {"not_null_shown_event_id"}
    assert isinstance(tick(), dg.SkipReason)


@pytest.mark.kafka
def test_records_on_a_topic_start_landing_and_show_their_lag(
    tmp_path: Path, instance: dg.DagsterInstance, kafka: KafkaBroker
) -> None:
    topic = new_topic(kafka.bootstrap)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "impressions.yml").write_text(f"name: impressions\ntopic: {topic}\n")
    group = f"test-{uuid.uuid4().hex}"
    site = DagsterLake.at(tmp_path, kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap, group=group))
    site.settings.landing = LandingSettings(sources=tmp_path / "sources", settle_seconds=0)
    source = load_sources(tmp_path / "sources")["impressions"]
    publish(kafka.bootstrap, topic, [impression(number) for number in range(5)])
    tick = Ticks(site, instance, "land_what_is_new")
    tick()  # everything
    publish(kafka.bootstrap, topic, [impression(5)])
    assert selected(tick()) == {"bronze.impressions", "quality.ledger"}
    lags = topic_lag(site.lake, source, site.settings.kafka)
    assert [(each.landed, each.end) for each in lags] == [(0, 4), (0, 2)]
    assert all(each.oldest for each in lags)

    def told(after: timedelta) -> list[tuple[str, str]]:
        seen = Seen()
        look_at_kafka(site.settings, Watched([], [], {"impressions": source}), get_current_datetime() + after, seen)
        assert seen.kinds == ["kafka", "lag"]
        return [(each.key, each.severity) for each in seen.conditions]

    assert told(timedelta(0)) == []
    assert told(timedelta(minutes=30)) == [(f"lag/{topic}", "warning")]
    assert told(timedelta(hours=2)) == [(f"lag/{topic}", "error")]
    result = site.run(instance, "land", "bronze.impressions")
    (event,) = result.get_asset_materialization_events()
    shown = event.materialization.metadata
    assert (shown["rows"].value, shown["lag"].value, shown["topic"].value) == (6, 0, topic)
    assert told(timedelta(hours=2)) == []


@pytest.mark.kafka
def test_where_the_service_lands_topics_dagster_shows_what_it_landed_and_lands_none(
    tmp_path: Path, instance: dg.DagsterInstance, kafka: KafkaBroker
) -> None:
    topic = new_topic(kafka.bootstrap)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "impressions.yml").write_text(f"topic: {topic}\n")
    site = DagsterLake.at(tmp_path, kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap, group=topic))
    site.settings.landing = LandingSettings(sources=tmp_path / "sources", settle_seconds=0, topics="service")
    source = load_sources(tmp_path / "sources")["impressions"]
    publish(kafka.bootstrap, topic, [impression(number) for number in range(5)])
    tick = Ticks(site, instance, "land_what_is_new")
    tick()  # everything
    publish(kafka.bootstrap, topic, [impression(5)])
    assert isinstance(tick(), dg.SkipReason), "records that wait are the service's"
    land_topic(site.lake, source, site.settings)
    publish(kafka.bootstrap, topic, [impression(6)])
    assert selected(tick()) == {"bronze.impressions", "quality.ledger"}
    assert isinstance(tick(), dg.SkipReason)
    for rows in (6, 0):
        result = site.run(instance, "land", "bronze.impressions")
        (event,) = result.get_asset_materialization_events()
        shown = event.materialization.metadata
        assert (shown["rows"].value, shown["lag"].value) == (rows, 1)
    assert site.rows("select count(*) from bronze.impressions") == [(6,)]


def test_a_broker_that_does_not_answer_is_told_and_leaves_what_was_said_of_topics(tmp_path: Path) -> None:
    settings = DagsterLake.at(tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")).settings
    seen = Seen()
    begun = time.monotonic()
    look_at_kafka(settings, Watched([], [], load_sources()), get_current_datetime(), seen)
    assert [each.key for each in seen.conditions] == ["kafka/unreachable"]
    assert seen.kinds == ["kafka"]
    assert time.monotonic() - begun < 30


def test_the_instance_answers_as_the_adapter_expects(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """The contract with the parts of Dagster that are not public: fails first when an upgrade changes them."""
    key = asset_key("bronze.impressions")
    assert pipeline_states(instance, [key])["bronze.impressions"].state == "UNKNOWN"
    assert not pipeline_states(instance, [key])["bronze.impressions"].materialised
    instance.report_runless_asset_event(dg.AssetMaterialization(key))
    assert pipeline_states(instance, [key])["bronze.impressions"].materialised

    assert failed_checks(instance, [LEDGER_OF_IMPRESSIONS]) == []
    for passed, expected in ((False, 1), (True, 0)):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key, check_name="ledger", passed=passed, metadata={}, description="3 rows are lost"
            )
        )
        found = failed_checks(instance, [LEDGER_OF_IMPRESSIONS])
        assert [(each.asset, each.check, each.severity, each.text) for each in found] == [
            ("bronze.impressions", "ledger", "error", "3 rows are lost")
        ] * expected

    assert unfinished_since(instance, "land") is None
    run = create_run_for_test(instance, job_name="land", status=dg.DagsterRunStatus.STARTED)
    assert unfinished_since(instance, "land") is not None
    instance.report_run_failed(run, "the machine went away")
    assert unfinished_since(instance, "land") is None
    (failed,) = failed_runs(instance, ["land", "build"])
    assert (failed.job, failed.run_id, failed.text) == ("land", run.run_id, "the machine went away")
