"""dbt typed by hand: every command with nothing but the profile, any number of threads, beside other builds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from small_lake import BUILT, PROJECT, SmallLake, at, day

from ad_lakehouse.dbt_delta.run import BuildFailed, build, environment, plan, settings_as_environment
from ad_lakehouse.lake import TableName

COMMAND = [sys.executable, "-c", "from dbt.cli.main import cli; cli()"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallLake]:
    """A lake with events of 8 days, named by the environment as for a person at the prompt."""
    small = SmallLake(tmp_path)
    small.land("campaigns", [{"campaign_id": "k", "utc_offset_hours": 2}])
    shown = [{"event_id": f"i{n}", "event_ts": at(n), "user_id": "u", "campaign_id": "k"} for n in range(8)]
    small.land("impressions", shown)
    bought = [{"event_id": f"c{n}", "event_ts": at(n, 13), "user_id": "u", "revenue_micros": 5} for n in range(8)]
    small.land("conversions", bought)
    with environment(at_the_prompt(small)):
        yield small


def at_the_prompt(small: SmallLake) -> dict[str, str]:
    return {
        **settings_as_environment(small.settings),
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_PROFILES_DIR": str(PROJECT),
        "AD_LAKEHOUSE_DEV_USER": "ada",
    }


def dbt(*words: str) -> dbtRunnerResult:
    """In this process, as dbt itself does it: nothing of ours around."""
    return dbtRunner().invoke([*words, "--log-level", "none", "--no-print"])


def done(*words: str) -> Any:
    outcome = dbt(*words)
    assert outcome.success, (outcome.exception, [each.message for each in getattr(outcome.result, "results", [])])
    return outcome.result


def messages(result: Any) -> dict[str, str]:
    return {each.node.name: str(each.message) for each in result.results}


@pytest.mark.parametrize("threads", ["1", "4"])
def test_build_by_hand_writes_the_developers_tables_and_leaves_the_published_ones(
    small: SmallLake, threads: str
) -> None:
    done("build", "-t", "dev", "--threads", threads)
    assert {str(name) for name in small.lake.tables("ada")} == set(BUILT)
    assert small.versions() == {}
    small.build()
    for name in BUILT:
        assert small.differences(name, "ada") == []
    again = messages(done("run", "-t", "dev", "--threads", threads))
    assert set(again.values()) == {"nothing to do: no input changed"}


def test_one_model_by_hand_reads_published_tables_where_there_are_no_own(small: SmallLake) -> None:
    small.build()
    done("run", "-t", "dev", "-s", "credits")
    assert [str(name) for name in small.lake.tables("ada")] == ["attribution.credits"]
    assert small.differences("attribution.credits", "ada") == []
    done("run", "-t", "dev", "-s", "impressions", "--vars", "{price: 2}")
    said = messages(done("run", "-t", "dev", "-s", "credits"))
    assert said["credits"].endswith("silver.impressions was created anew")  # the own one now, not the published one


def test_warm_process_sees_what_landed_between_two_commands(small: SmallLake) -> None:
    done("run", "-t", "prod")
    small.land("impressions", [{"event_id": "late", "event_ts": at(3), "user_id": "u", "campaign_id": "k"}])
    said = messages(done("run", "-t", "prod"))
    assert said["impressions"].startswith("1 day rebuilt, 1 day replaced")
    assert said["credits"].startswith("4 days rebuilt, 3 days replaced")
    assert small.rows("silver.impressions", where="event_id = 'late'")


def test_warm_process_follows_the_setting_to_another_lake(small: SmallLake, tmp_path: Path) -> None:
    done("run", "-t", "prod")
    other = SmallLake(tmp_path / "other")
    with environment(settings_as_environment(other.settings)):
        done("run", "-t", "prod")
    assert other.rows("silver.impressions") == []
    assert len(small.rows("silver.impressions")) == 8


def test_show_test_docs_and_compile_work(small: SmallLake, dbt_folders: Path) -> None:
    small.build()
    shown = done("show", "-t", "prod", "-s", "credits", "--limit", "500")
    assert len(shown.results[0].agate_table.rows) == len(small.rows("attribution.credits"))
    assert done("show", "-t", "prod", "-s", "stg_impressions")
    assert {str(each.status) for each in done("test", "-t", "prod").results} == {"pass"}
    compiled = done("compile", "-t", "prod", "-s", "credits").results[0].node.compiled_code
    assert '"silver.impressions[-3..0]"' in compiled
    done("docs", "generate", "-t", "prod")
    catalog = json.loads((dbt_folders / "target" / "catalog.json").read_text())
    assert catalog["nodes"]["model.small.credits"]["columns"]["touch_id"]["type"] == "VARCHAR"


def test_docs_and_compile_work_before_anything_is_built(small: SmallLake) -> None:
    done("docs", "generate", "-t", "prod")
    done("compile", "-t", "prod")
    outcome = dbt("show", "-t", "prod", "-s", "credits")
    assert "silver.impressions is not in the lake" in str(outcome.exception or outcome.result.results[0].message)


def test_macros_refuse_what_has_no_meaning(small: SmallLake) -> None:
    small.build()
    outcome = dbt("show", "-t", "prod", "--inline", "select * from {{ lake_days(ref('campaigns'), 1) }}")
    assert "silver.campaigns has no day partition" in str(outcome.exception)
    outcome = dbt("show", "-t", "prod", "--inline", "select * from {{ lake_days(ref('stg_impressions')) }}")
    assert "is an ephemeral model" in str(outcome.exception)
    with pytest.raises(BuildFailed, match="both are whole numbers of days"):
        small.build(variables={"view_days": -1})


def test_plan_tells_the_days_of_every_table_below_a_change_and_builds_nothing(small: SmallLake) -> None:
    assert {str(each.name): each.days for each in plan(small.settings, project=PROJECT)} == dict.fromkeys(BUILT)
    small.build()
    assert all(each.days == frozenset() for each in plan(small.settings, project=PROJECT))
    small.land("impressions", [{"event_id": "late", "event_ts": at(3), "user_id": "u", "campaign_id": "k"}])
    before = small.versions()
    plans = {str(each.name): each for each in plan(small.settings, project=PROJECT)}
    assert small.versions() == before
    assert plans["silver.impressions"].reason == f"bronze.impressions changed on {day(3)}"
    assert plans["silver.impressions"].days == {day(3)}
    assert plans["silver.conversions"].days == frozenset()
    assert plans["attribution.credits"].days == {day(n) for n in range(3, 7)}
    assert plans["marts.campaign_daily"].days == {day(n) for n in range(2, 8)}
    assert plans["marts.totals"].days is None
    report = small.build()
    for each in report.results:  # what came out the same above makes less stale below than foretold
        days = plans[each.name].days
        assert days is None or each.figures["days_rebuilt"] <= len(days)


def test_plan_and_build_agree_on_what_the_code_is(small: SmallLake) -> None:
    small.build(variables={"view_days": 2})
    reasons = {str(each.name): each.reason for each in plan(small.settings, {"view_days": 2}, project=PROJECT)}
    assert set(reasons.values()) == {"no input changed"}
    reasons = {str(each.name): each.reason for each in plan(small.settings, project=PROJECT)}
    assert reasons["attribution.credits"] == "the model's code or configuration changed"


def test_failing_model_stops_its_children_alone_and_says_why(small: SmallLake) -> None:
    report = build(small.settings, vars={"price": "'x' || "}, project=PROJECT)
    states = {each.name: each.status for each in report.results}
    assert states["silver.impressions"] == "error"
    assert states["attribution.credits"] == states["marts.totals"] == "skipped"
    assert states["silver.conversions"] == states["silver.campaigns"] == "success"
    with pytest.raises(BuildFailed, match=r"1 not built, 3 skipped because of it\.\nsilver\.impressions: "):
        report.raise_if_failed()


def test_days_can_be_asked_for(small: SmallLake) -> None:
    small.build()
    report = build(small.settings, days=(day(2), day(4)), project=PROJECT)
    figures = {each.name: each.figures for each in report.results}
    assert figures["silver.impressions"]["days_rebuilt"] == 3
    assert figures["silver.impressions"]["days_replaced"] == 0


def test_project_that_dbt_cannot_parse_is_an_error_of_ours(small: SmallLake, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="could not run"):
        build(small.settings, project=tmp_path)


@pytest.mark.timeout(180)
def test_processes_that_build_at_once_end_with_the_tables_of_one(small: SmallLake, tmp_path: Path) -> None:
    small.build()
    small.land("impressions", [{"event_id": f"n{n}", "event_ts": at(n), "user_id": "u"} for n in range(8)])
    processes = [
        subprocess.Popen(
            [*COMMAND, "run", "-t", target, "--threads", "4"],
            env={**os.environ, **at_the_prompt(small), "DBT_TARGET_PATH": str(tmp_path / str(number))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, target in enumerate(["prod", "prod", "dev"])
    ]
    said = [process.communicate(timeout=150)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(said)
    full = small.build_aside()
    for name in BUILT:
        assert small.differences(name, full) == []
        assert small.differences(name, "ada") == []
    committed = small.lake.open(TableName("silver", "impressions")).version()
    assert committed == 2  # the first build, and one of the two
