"""Decisions of the Dagster layer: plain values in, plain values out."""

import xml.etree.ElementTree as ET
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ad_lakehouse.alerts.conditions import AssetFreshness
from ad_lakehouse.defs import graph as graphs
from ad_lakehouse.defs.arrivals import dropped, files_by_source, files_of_no_source
from ad_lakehouse.defs.freshness import VERIFY_EVERY, pipeline_facts, pipeline_windows, remembered
from ad_lakehouse.defs.graph import DbtTest, GraphNotPrepared, ModelGraph, ModelNode, read_graph
from ad_lakehouse.defs.instance import prepare_home
from ad_lakehouse.defs.instance_facts import PipelineState
from ad_lakehouse.defs.landing import sharing_files
from ad_lakehouse.defs.lineage import column_lineage
from ad_lakehouse.defs.models import selection
from ad_lakehouse.defs.plot import BARS, rows_per_day
from ad_lakehouse.defs.triggers import EVERYTHING, Cursor, due
from ad_lakehouse.quality.freshness import load_windows
from ad_lakehouse.settings import Settings
from kafka_sinks.sources import load_sources

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def model(name: str, *inputs: str, tests: tuple[str, ...] = ()) -> ModelNode:
    return ModelNode(
        name=name,
        select=f"little.{name}",
        inputs=dict.fromkeys(inputs, "days 0..0"),
        tests=tuple(DbtTest(name=each) for each in tests),
    )


GRAPH = ModelGraph(
    sources="digest",
    models=(
        model("silver.impressions", "bronze.impressions", tests=("not_null",)),
        model("silver.clicks", "bronze.clicks"),
        model("marts.daily", "silver.impressions", "silver.clicks"),
    ),
)


@pytest.mark.parametrize(
    ("seen", "handled", "verified", "about"),
    [
        ({}, {}, None, EVERYTHING),
        ({}, {}, NOW - VERIFY_EVERY, EVERYTHING),
        ({"a": "1"}, {"a": "1"}, NOW, set()),
        ({"a": "2", "b": "1"}, {"a": "1", "b": "1"}, NOW, {"a"}),
        ({"c": "1"}, {}, NOW, {"c"}),
        ({}, {"a": "1"}, NOW, set()),
    ],
)
def test_a_run_is_due_for_what_is_new_and_for_everything_from_time_to_time(seen, handled, verified, about) -> None:
    assert due(seen, Cursor(handled, verified), NOW) == about


def test_a_cursor_survives_its_text() -> None:
    cursor = Cursor({"a": "1"}, NOW)
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.parse(None) == Cursor({}, None)


def test_everything_is_verified_well_within_every_window() -> None:
    shortest = min(window.warn for window in load_windows().values())
    assert min(shortest, pipeline_windows()[0]) >= 2 * VERIFY_EVERY


def test_an_asset_that_was_never_materialised_is_late_once_it_is_known_for_its_window() -> None:
    states = {
        "a": PipelineState("UNKNOWN", False),
        "b": PipelineState("UNKNOWN", True),
        "c": PipelineState("WARN", True),
    }
    windows = dict.fromkeys(states, HOUR)
    known = remembered({"a": NOW - 2 * HOUR, "gone": NOW}, ["a", "b", "c"], NOW)
    assert known == {"a": NOW - 2 * HOUR, "b": NOW, "c": NOW}
    told = pipeline_facts(states, known, windows, NOW)
    assert told == [
        AssetFreshness("a", "FAIL", "FAIL"),
        AssetFreshness("b", "UNKNOWN", "UNKNOWN"),
        AssetFreshness("c", "WARN", "WARN"),
    ]
    assert pipeline_facts(states, {**known, "a": NOW - HOUR}, windows, NOW)[0].new == "UNKNOWN"


def test_what_reads_a_table_is_all_that_is_below_it() -> None:
    assert GRAPH.below(["bronze.clicks"]) == {"silver.clicks": {"bronze.clicks"}, "marts.daily": {"bronze.clicks"}}
    assert GRAPH.below([]) == {}


def test_dbt_is_asked_for_the_models_and_for_tests_of_other_models() -> None:
    assert selection(GRAPH, {"silver.clicks"}, {"not_null"}) == ["little.silver.clicks", "not_null"]
    assert selection(GRAPH, {"silver.impressions"}, {"not_null"}) == ["little.silver.impressions"]
    assert selection(GRAPH, set(), set()) == []


def test_sources_that_share_files_land_in_one_step() -> None:
    groups = [[each.name for each in group] for group in sharing_files(load_sources())]
    assert ["clicks", "conversions"] in groups
    assert ["impressions"] in groups
    clicks = load_sources()["clicks"]
    chain = {
        "a": replace(clicks, name="a", files=("x",)),
        "b": replace(clicks, name="b", files=("y",)),
        "c": replace(clicks, name="c", files=("x", "y")),
        "d": replace(clicks, name="d", files=()),
        "e": replace(clicks, name="e", files=()),
    }
    assert [[each.name for each in group] for group in sharing_files(chain)] == [["a", "b", "c"], ["d"], ["e"]]


def test_lineage_follows_columns_through_steps_stars_and_limited_inputs() -> None:
    sql = """
      with shown as (select * from "silver.impressions[-30..0]"),
      priced as (
        select i.site, i.price * r.rate as spend, 1 as one from shown as i join "silver.rates[all]" as r using (day)
      )
      select site, sum(spend) as spend, max(one) as one from priced group by site
    """
    columns = {"silver.impressions": ["site", "price", "day"], "silver.rates": ["rate", "day"]}
    assert column_lineage("marts.x", sql, columns) == {
        "site": (("silver.impressions", "site"),),
        "spend": (("silver.impressions", "price"), ("silver.rates", "rate")),
        "one": (),
    }


def test_lineage_of_what_cannot_be_read_is_empty_and_stops_nothing() -> None:
    assert column_lineage("marts.x", "select from where", {}) == {}


def test_the_plot_has_a_bar_for_each_day_and_only_the_newest() -> None:
    rows = {date(2026, 1, 1): 5, date(2026, 1, 4): 10}
    assert bar_heights(rows) == [30, 1, 1, 60]
    assert len(bar_heights({date(2026, 1, 1) + timedelta(number): 1 for number in range(200)})) == BARS
    assert rows_per_day({}) == "no rows yet"


def bar_heights(rows: dict[date, int]) -> list[int]:
    image = rows_per_day(rows).partition("base64,")[2].rstrip(")")
    drawn = ET.fromstring(b64decode(image))  # noqa: S314  # our own
    return [int(each.attrib["height"]) for each in drawn if each.tag.endswith("rect")]


def test_a_file_arrives_when_it_has_settled_and_one_of_no_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "a.unknown").write_text("")
    settings, sources = Settings(drop_folder=tmp_path), load_sources()
    written = datetime.fromtimestamp((tmp_path / "a.jsonl").stat().st_mtime, UTC)
    assert files_by_source(settings, sources, written) == {}
    later = written + timedelta(seconds=settings.landing.settle_seconds + 1)
    assert set(files_by_source(settings, sources, later)) == {"impressions"}
    assert files_of_no_source(dropped(settings), sources) == ["a.unknown"]


def test_a_project_that_was_not_prepared_or_has_changed_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    (tmp_path / "dbt_project.yml").write_text("name: x\n")
    with pytest.raises(GraphNotPrepared, match=r"was not prepared.*Run: "):
        read_graph(tmp_path)
    path = graphs.graph_path(tmp_path)
    path.parent.mkdir()
    path.write_text(GRAPH.model_copy(update={"sources": graphs.sources_digest(tmp_path)}).model_dump_json())
    assert read_graph(tmp_path).models == GRAPH.models
    (tmp_path / "models.sql").write_text("select 1")
    with pytest.raises(GraphNotPrepared, match="has changed"):
        read_graph(tmp_path)
    path.write_text("{}")
    with pytest.raises(GraphNotPrepared, match="another version"):
        read_graph(tmp_path)


def test_the_instance_keeps_settings_that_a_user_has_changed(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "home")
    assert "enabled: false" in (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert prepare_home(home) == home
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
