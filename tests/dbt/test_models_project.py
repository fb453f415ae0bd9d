"""The dbt project as a whole: its unit tests, its documented columns, its bot list."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from bronze_lake import BOT, BROWSER, BronzeLake, Traffic
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.dbt_delta.run import build, invoke
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.settings import Settings

PEOPLE = Path(__file__).with_name("browsers_of_people.txt")
BOT_MACRO = project_dir() / "macros" / "bot_user_agents.sql"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BronzeLake:
    """A lake with a little of everything, all models built."""
    traffic = Traffic(7)
    lake = BronzeLake(tmp_path_factory.mktemp("lake"))
    for table, rows in traffic.dimensions().items():
        lake.land(table, rows)
    for source in ("impressions", "clicks", "conversions", "bid_requests"):
        lake.land(source, traffic.events(source, 100))
    lake.build()
    return lake


def documented() -> Iterator[tuple[str, dict[str, Any]]]:
    """Layer and YAML entry of each model."""
    for path in sorted((project_dir() / "models").glob("*/*.yml")):
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", []):
            yield path.parent.name, model


def test_unit_tests_of_the_models_pass_without_a_lake(tmp_path: Path) -> None:
    outcome = invoke(Settings(lake=str(tmp_path / "nothing")), ["test", "--select", "test_type:unit"])
    tests = [each for each in outcome.results if each.node.resource_type == "unit_test"]
    assert len(tests) >= 35
    assert {each.node.name: each.message for each in tests if each.status != "pass"} == {}


def test_data_tests_of_the_models_pass_on_a_built_lake(built: BronzeLake) -> None:
    report = build(built.settings, ["*"], tests=True)
    assert [(each.name, each.message) for each in report.failed] == []
    assert sum(each.status == "pass" for each in report.results) > 100


def test_documented_columns_are_those_that_are_built(built: BronzeLake) -> None:
    """Names, order and types; unit tests take their types from the YAML."""
    tables = {str(name): name for name in built.lake.tables()}
    connection = connect()
    for layer, model in documented():
        name = tables.get(f"{layer}.{model['name']}")
        if name is None:
            continue
        snapshot = Snapshot.of(name, built.lake.open(name))
        described = {column["name"]: column["data_type"] for column in model["columns"]}
        types = {
            column: connection.execute(f"select typeof(cast(null as {kind}))").fetchall()[0][0]
            for column, kind in described.items()
        }
        there = {
            column: connection.execute(f"select typeof(cast(null as {kind}))").fetchall()[0][0]
            for column, kind in snapshot.columns.items()
        }
        assert list(types.items()) == list(there.items()), name


@pytest.mark.parametrize(
    ("layer", "model"), list(documented()), ids=lambda each: each["name"] if isinstance(each, dict) else ""
)
def test_every_model_and_column_says_what_it_is(layer: str, model: dict[str, Any]) -> None:
    assert (project_dir() / "models" / layer / f"{model['name']}.sql").exists()
    assert model["description"].strip()
    for column in model["columns"]:
        assert column["description"].strip(), column["name"]
        assert re.search(r"_micros", column["name"]) is None or "icros" in str(column) or layer == "staging"


@pytest.mark.parametrize("name", ["touchpoints", "stg_impressions", "stg_bid_requests", "stg_campaigns"])
def test_documented_columns_of_ephemeral_models_are_those_they_give(built: BronzeLake, name: str) -> None:
    folder = "attribution" if name == "touchpoints" else "staging"
    (model,) = [each for layer, each in documented() if layer == folder and each["name"] == name]
    outcome = invoke(built.settings, ["show", "--select", name, "--output", "json", "--limit", "1"])
    table = outcome.results[0].agate_table
    assert list(table.column_names) == [column["name"] for column in model["columns"]]


def bot_pattern() -> str:
    """The regular expression that the macro gives, as dbt renders it."""
    from jinja2 import Environment

    template = Environment(extensions=["jinja2.ext.do"], autoescape=False).from_string(  # noqa: S701 SQL, not HTML
        BOT_MACRO.read_text(encoding="utf-8") + "{{ bot_user_agents() }}"
    )
    return template.render().strip().replace("''", "'")


def flagged(agents: list[str]) -> set[str]:
    rows = duckdb.execute(
        "select agent from (select unnest(?::varchar[]) as agent) where regexp_matches(agent, ?)",
        [agents, bot_pattern()],
    ).fetchall()
    return {agent for (agent,) in rows}


def test_real_user_agents_of_bots_are_recognised() -> None:
    """Those that the package crawler-user-agents has seen; a new version of it may know a few more."""
    bots = [agent for each in CRAWLER_USER_AGENTS_DATA for agent in each["instances"]]
    assert len(bots) > 2000
    assert len(flagged(bots)) >= 0.995 * len(set(bots))


def test_people_are_not_taken_for_bots() -> None:
    people = PEOPLE.read_text(encoding="utf-8").splitlines()
    assert len(people) > 40
    assert flagged([*people, BROWSER]) == set()
    assert flagged([BOT]) == {BOT}


def test_the_bot_list_is_what_its_script_writes(tmp_path: Path) -> None:
    """So that nobody edits it by hand. Skipped when another version of the package is installed."""
    from importlib.metadata import version

    if version("crawler-user-agents") not in BOT_MACRO.read_text(encoding="utf-8"):
        pytest.skip("the list was written from another version of crawler-user-agents")
    script = project_dir() / "scripts" / "bot_user_agents.py"
    run = subprocess.run([sys.executable, str(script), str(tmp_path / "list.sql")], check=True, timeout=60)
    assert run.returncode == 0
    assert (tmp_path / "list.sql").read_text(encoding="utf-8") == BOT_MACRO.read_text(encoding="utf-8")
