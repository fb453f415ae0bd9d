"""Assets and checks on a real lake with a real Dagster instance."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_lake import DagsterLake, checks, clicks_and_conversions, impressions, metadata

from ad_lakehouse.files.drop import Dropped, LocalFolder
from ad_lakehouse.lake import TableName

pytestmark = pytest.mark.usefixtures("target")
EVENTS = ("bronze.impressions", "bronze.clicks", "bronze.conversions", "quality.ledger")


@pytest.fixture
def site(tmp_path: Path) -> DagsterLake:
    found = DagsterLake.at(tmp_path)
    found.drop("one.jsonl", impressions(6) + '{"event_id": "broken"\n')
    found.drop("mixed.csv", clicks_and_conversions(3))
    return found


def test_landing_shows_what_landed_and_what_was_quarantined(site: DagsterLake, instance: dg.DagsterInstance) -> None:
    result = site.run(instance, "land", *EVENTS)
    shown = metadata(result, "bronze.impressions")
    assert (shown["rows"], shown["quarantined"], shown["dagster/row_count"]) == (6, 1, 6)
    assert "| invalid_json | 1 |" in shown["quarantined_by_reason"]
    assert "quarantine list --source impressions" in shown["quarantine"]
    assert shown["bytes"] > 0
    assert shown["seconds"] > 0
    assert "data:image/svg+xml;base64," in shown["rows_per_day"]
    assert [metadata(result, f"bronze.{each}")["rows"] for each in ("clicks", "conversions")] == [3, 3]
    assert checks(result)["bronze.impressions", "ledger"]


def test_a_second_landing_of_the_same_files_lands_nothing(site: DagsterLake, instance: dg.DagsterInstance) -> None:
    site.run(instance, "land", *EVENTS)
    again = metadata(site.run(instance, "land", *EVENTS), "bronze.impressions")
    assert (again["rows"], again["quarantined"], again["dagster/row_count"]) == (0, 0, 6)


def test_all_steps_of_a_run_list_the_drop_folder_once_and_the_next_run_lists_it_anew(
    site: DagsterLake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, listed = LocalFolder.files, []

    def counted(folder: LocalFolder) -> Iterator[Dropped]:
        listed.append(folder)
        return files(folder)

    monkeypatch.setattr(LocalFolder, "files", counted)
    site.run(instance, "land", *EVENTS)
    assert len(listed) == 1
    site.drop("two.jsonl", impressions(1, first=100))
    assert metadata(site.run(instance, "land", *EVENTS), "bronze.impressions")["rows"] == 1
    assert len(listed) == 2


def test_models_are_built_then_only_what_changed(site: DagsterLake, instance: dg.DagsterInstance) -> None:
    site.run(instance, "land", *EVENTS)
    first = metadata(site.run(instance, "build"), "marts.site_daily")
    assert (first["days_rebuilt"], first["rows"], first["published"]) == ("all", 2, True)
    idle = metadata(site.run(instance, "build"), "marts.site_daily")
    assert (idle["days_rebuilt"], idle["days_replaced"], idle["published"]) == (0, 0, False)
    site.drop("two.jsonl", impressions(1, days_ago=5, first=100))
    site.run(instance, "land", *EVENTS)
    late = metadata(site.run(instance, "build"), "marts.site_daily")
    assert (late["days_rebuilt"], late["days_replaced"], late["dagster/row_count"]) == (3, 1, 3)
    assert "silver.shown changed" in late["reason"]


def test_one_model_alone_can_be_materialised(site: DagsterLake, instance: dg.DagsterInstance) -> None:
    site.run(instance, "land", *EVENTS)
    result = site.run(instance, "build", "silver.shown")
    assert [event.asset_key.path for event in result.get_asset_materialization_events()] == [["silver", "shown"]]
    assert checks(result) == {("silver.shown", "not_null_shown_event_id"): True}


def test_columns_know_where_they_come_from(site: DagsterLake, instance: dg.DagsterInstance) -> None:
    site.run(instance, "land", *EVENTS)
    shown = metadata(site.run(instance, "build"), "marts.site_daily")
    deps = shown["dagster/column_lineage"].deps_by_column
    assert [(each.asset_key.path, each.column_name) for each in deps["report_date"]] == [
        (["silver", "shown"], "event_ts")
    ]
    assert {each.name: each.type for each in shown["dagster/column_schema"].columns}["impressions"] == "bigint"


def test_rows_that_fail_a_blocking_check_are_not_published_and_children_are_not_built(
    site: DagsterLake, instance: dg.DagsterInstance
) -> None:
    site.run(instance, "land", *EVENTS)
    site.run(instance, "build")
    published = site.version("marts.site_daily"), site.version("marts.site_totals")
    site.drop("dear.jsonl", impressions(1, first=50, price_micros=9_000_000))
    site.run(instance, "land", *EVENTS)
    result = site.run(instance, "build", check=False)
    assert not result.success
    built = {".".join(event.asset_key.path) for event in result.get_asset_materialization_events()}
    assert built == {"silver.shown", "silver.clicked"}
    assert checks(result)["marts.site_daily", "soda__price_micros__invalid"] is False
    assert checks(result)["silver.shown", "not_null_shown_event_id"]
    assert (site.version("marts.site_daily"), site.version("marts.site_totals")) == published


def test_what_reads_a_landed_table_that_fails_its_ledger_is_held_back_and_the_rest_is_built(
    site: DagsterLake, instance: dg.DagsterInstance
) -> None:
    site.run(instance, "land", *EVENTS)
    lost = site.lake.open(TableName("bronze", "impressions"))
    lost.delete("event_id = 'i0'")  # behind the ledger's back
    landed = site.run(instance, "land", *EVENTS, check=False)
    assert checks(landed)["bronze.impressions", "ledger"] is False
    result = site.run(instance, "build", check=False)
    built = {".".join(event.asset_key.path) for event in result.get_asset_materialization_events()}
    assert built == {"silver.clicked"}
    assert not result.success


def test_contract_checks_run_alone_and_on_a_table_without_rows(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    empty = DagsterLake.at(tmp_path)
    result = empty.run(instance, "land")
    found = checks(result)
    assert ("bronze.sites", "ledger") in found
    assert all(found.values()), [key for key, passed in found.items() if not passed]
