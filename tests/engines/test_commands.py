"""What people type, and Dagster, on Spark: the command line, dbt by hand, a run of the build job."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from bronze_lake import BronzeLake, Traffic
from dagster_lake import DagsterLake, checks, clicks_and_conversions, impressions, metadata
from deltalake import write_deltalake
from small_lake import SmallLake, at

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_delta.run import invoke, plan
from ad_lakehouse.lake import TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.settings import Settings

pytestmark = pytest.mark.usefixtures("spark")

BIN = Path(sys.executable).parent


@pytest.fixture
def lake(tmp_path: Path) -> BronzeLake:
    """Dimensions landed, as far as these commands build them."""
    lake = BronzeLake(tmp_path)
    for table, rows in Traffic(1).dimensions().items():
        lake.land(table, rows)
    return lake


def run(lake: SmallLake, *command: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with the settings of this session."""
    environment = {
        **os.environ,
        "AD_LAKEHOUSE_LAKE": lake.settings.lake,
        "AD_LAKEHOUSE_TRANSFORM__THREADS": "1",
        **more,
    }
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], env=environment, cwd=cwd, capture_output=True, text=True, timeout=300
    )


def engine(lake: SmallLake, name: str) -> Any:
    table = TableName.parse(name)
    return (TableLog(lake.lake, table).recorded_build(lake.lake.open(table).version()) or {}).get("engine")


def test_build_command_builds_on_spark_and_prints_nothing_else(lake: BronzeLake) -> None:
    build = ("ad-lakehouse", "build", "--target", "spark", "--select", "sites", "--select", "fx_rates")
    done = run(lake, *build)
    assert (done.returncode, done.stderr) == (0, "")
    assert "silver.fx_rates" in done.stdout
    assert engine(lake, "silver.fx_rates") == "spark"
    again = run(lake, "ad-lakehouse", "build", "--select", "fx_rates", AD_LAKEHOUSE_TRANSFORM__ENGINE="spark")
    assert "no input changed" in again.stdout
    on_duckdb = run(lake, "ad-lakehouse", "build", "--select", "fx_rates")
    assert "no input changed" in on_duckdb.stdout, "DuckDB goes on"


def test_handover_command_names_the_writer_of_each_table(lake: BronzeLake) -> None:
    lake.build(select=["sites", "fx_rates"])
    done = run(lake, "ad-lakehouse", "handover", "--to", "spark", "silver.sites")
    assert (done.returncode, done.stdout) == (0, "silver.sites: now written by spark alone\n")
    refused = run(lake, "ad-lakehouse", "build", "--select", "sites", "--full-refresh")
    assert refused.returncode == 11
    assert "silver.sites is written by spark" in refused.stdout + refused.stderr
    assert run(lake, "ad-lakehouse", "handover", "--to", "spark", "bronze.sites").returncode == 2
    done = run(lake, "ad-lakehouse", "handover", "--to", "duckdb")
    assert "silver.fx_rates: now written by duckdb alone" in done.stdout


def test_dbt_by_hand_rebuilds_all_on_spark_and_runs_the_tests_of_the_tables(lake: BronzeLake) -> None:
    lake.build(select=["campaigns"])
    lake.land("campaigns", [{"campaign_id": "c9", "advertiser_id": "a0"}])
    dbt = ("dbt", "build", "--target", "spark", "--select", "campaigns", "--profiles-dir", ".")
    done = run(lake, *dbt, cwd=project_dir())
    assert done.returncode == 0, done.stdout
    assert "all rebuilt, 0 days replaced, 6 rows: built by duckdb, whose code this build does not know" in done.stdout
    assert "ERROR=0" in done.stdout
    assert lake.differences("silver.campaigns", lake.build_aside()) == []


def test_dbt_test_by_hand_finds_bad_rows_on_spark(lake: BronzeLake) -> None:
    lake.build(select=["sites"])
    dbt = ("dbt", "test", "--target", "spark", "--select", "sites,test_type:data", "--profiles-dir", ".")
    assert run(lake, *dbt, cwd=project_dir()).returncode == 0
    table = lake.lake.open(TableName("silver", "sites"))
    twice = table.to_pyarrow_table().slice(0, 1)
    write_deltalake(table, pa.concat_tables([twice, twice]), mode="append")
    done = run(lake, *dbt, cwd=project_dir())
    assert done.returncode == 1
    assert "FAIL" in done.stdout


def test_dbt_by_hand_writes_the_developers_own_tables_with_target_spark_dev(lake: BronzeLake) -> None:
    lake.build(select=["sites"])
    before = lake.versions()
    dbt = ("dbt", "run", "--target", "spark_dev", "--select", "sites", "--profiles-dir", ".")
    done = run(lake, *dbt, cwd=project_dir(), AD_LAKEHOUSE_DEV_USER="eve")
    assert done.returncode == 0, done.stdout
    assert lake.versions() == before
    assert lake.rows("silver.sites", "eve") == lake.rows("silver.sites")


def test_plan_for_spark_foretells_what_spark_will_rebuild(small: SmallLake) -> None:
    from small_lake import PROJECT

    small.land("impressions", [{"event_id": f"i{n}", "event_ts": at(n), "user_id": "u"} for n in range(3)])
    small.build(target="spark")
    small.settings.transform.engine = "spark"
    assert all(each.plan.nothing for each in plan(small.settings, project=PROJECT))
    small.land("impressions", [{"event_id": "late", "event_ts": at(1), "user_id": "u"}])
    days = {str(each.name): each.days for each in plan(small.settings, project=PROJECT)}
    assert days["silver.impressions"] == {at(1).date()}
    assert days["silver.conversions"] == frozenset()


def test_unit_tests_of_the_models_pass_on_spark(tmp_path: Path) -> None:
    outcome = invoke(Settings(lake=str(tmp_path / "nothing")), ["test", "--select", "test_type:unit"], target="spark")
    tests = [each for each in outcome.results if each.node.resource_type == "unit_test"]
    assert len(tests) >= 35
    assert {each.node.name: each.message for each in tests if each.status != "pass"} == {}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_dagster_builds_on_spark_by_one_setting(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    site = DagsterLake.at(tmp_path)
    site.settings.transform.engine = "spark"
    site.drop("one.jsonl", impressions(6))
    site.drop("mixed.csv", clicks_and_conversions(3))
    site.run(instance, "land", "bronze.impressions", "bronze.clicks", "bronze.conversions", "quality.ledger")
    result = site.run(instance, "build")
    shown = metadata(result, "marts.site_daily")
    assert (shown["days_rebuilt"], shown["rows"], shown["published"]) == ("all", 2, True)
    assert all(checks(result).values())
    spec = site.location().resolve_asset_graph().get(dg.AssetKey(["marts", "site_daily"]))
    assert "spark" in spec.kinds
    note = TableLog(site.lake, TableName("marts", "site_daily")).recorded_build(1) or {}
    assert note["engine"] == "spark"
