"""The warehouse: every table of a lake in a real Hive Metastore, asked by a real Trino and by DuckDB."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from command_line import cli_here
from deltalake import Field, write_deltalake
from deltalake.schema import PrimitiveType
from query_engine import HIVE_CLIENT, EngineMissing, QueryEngine

from ad_lakehouse.artefacts import FetchFailed, fetched
from ad_lakehouse.dbt_delta.run import build, environment
from ad_lakehouse.dbt_spark.artefacts import SparkUnavailable, require_spark
from ad_lakehouse.defs.location import code_location
from ad_lakehouse.defs.prepare import prepare
from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import generate
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.publish import publish
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.landing import land_all
from ad_lakehouse.prompt import open_lake
from ad_lakehouse.quality.ledger import write_ledger
from ad_lakehouse.settings import Settings, TransformSettings, TrinoSettings
from ad_lakehouse.warehouse.register import Step, register
from ad_lakehouse.warehouse.trino import Result, Trino

ROOT = Path(__file__).parents[2]
SQL_BLOCK = re.compile(r"```sql\n(.+?)```", re.DOTALL)
SPARK_CONF = re.compile(r"export AD_LAKEHOUSE_SPARK__CONF='(.+?)'", re.DOTALL)
SQL_COMMAND = re.compile(r'ad-lakehouse sql "(select[^"]+)"')
QUESTIONS = [
    *SQL_COMMAND.findall((ROOT / "README.md").read_text()),
    *SQL_COMMAND.findall((ROOT / "docs/your-own-data.md").read_text()),
    *SQL_BLOCK.findall((ROOT / "docs/query-engines.md").read_text()),
]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Warehouse:
    """A built lake, and the Trino that knows it once `register` has run."""

    lake: Lake
    settings: Settings
    trino: Trino

    def by_trino(self, sql: str) -> Rows:
        return values(self.trino.query(sql))

    def by_duckdb(self, sql: str) -> Rows:
        """Times as Trino knows them: milliseconds."""
        with open_lake(self.lake) as connection:
            return [tuple(map(rounded, row)) for row in connection.execute(sql).fetchall()]

    def cli(self, *arguments: str, **more: str) -> Any:
        """The command line on this lake; `more` are settings."""
        trino = {"TRINO__HOST": self.settings.trino.host, "TRINO__PORT": str(self.settings.trino.port)}
        return cli_here(*arguments, **{"LAKE": self.settings.lake, **trino, **more})


def rounded(value: Any) -> Any:
    """A time to the nearest millisecond, the later one of two."""
    if isinstance(value, datetime):
        spare = value.microsecond % 1000
        return value.astimezone(UTC) + timedelta(microseconds=1000 - spare if spare >= 500 else -spare)
    return value


def values(result: Result) -> Rows:
    """What Trino says as text, as the values that it means."""
    kinds = [kind.split("(")[0].split(" ")[0] for _, kind in result.columns]
    return [tuple(map(meant, kinds, row)) for row in result.rows]


def meant(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "decimal":
        return Decimal(value)
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "timestamp":  # all are with time zone, and UTC
        return datetime.fromisoformat(value.removesuffix(" UTC")).replace(tzinfo=UTC)
    return value


@pytest.fixture(scope="module")
def engine(unavailable: Callable[[str], None]) -> Iterator[QueryEngine]:
    try:
        running = QueryEngine()
        running.__enter__()
    except EngineMissing as error:
        unavailable(str(error))
        return
    yield running
    running.__exit__()


@pytest.fixture(scope="module")
def warehouse(engine: QueryEngine, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Four days of the demo's events, built, registered by the command. Its path has what addresses escape."""
    folder = tmp_path_factory.mktemp("the warehouse's")
    home = DemoHome(folder / "demo")
    trino = TrinoSettings(host="127.0.0.1", port=engine.port)
    settings = Settings(lake=str(folder / "lake"), transform=TransformSettings(threads=2), trino=trino)
    lake = Lake(settings.lake)
    config = GeneratorConfig(end=datetime(2026, 11, 20, tzinfo=UTC), impressions=3000, days=4, seed=7)
    publish(generate(config), None, home)
    written = {"DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs")}
    with environment(written):
        landed = land_all(lake, settings, folder=str(home.drop), topics=False, settle_seconds=0.0)
        assert not landed.errors
        build(settings).raise_if_failed()
    write_ledger(lake)
    made = Warehouse(lake, settings, Trino("127.0.0.1", engine.port, "analyst", catalog="lake"))
    done = made.cli("register")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(lake.tables())} registered" in done.stdout
    return made


def test_every_table_of_the_lake_is_registered_and_a_second_run_does_nothing(warehouse: Warehouse) -> None:
    tables = warehouse.lake.tables()
    assert {name.layer for name in tables} == {"bronze", "silver", "attribution", "marts", "ops", "quality"}
    for name in tables:
        (count,) = warehouse.by_trino(f"select count(*) from {name}")
        assert count == (warehouse.lake.open(name).to_pyarrow_dataset().count_rows(),), name
    again = warehouse.cli("register")
    assert again.returncode == 0
    assert again.stdout.strip() == f"{len(tables)} tables: {len(tables)} unchanged."


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda text: " ".join(text.split()[-6:]))
def test_a_question_of_the_docs_has_one_answer(warehouse: Warehouse, question: str) -> None:
    answer, expected = warehouse.by_trino(question), warehouse.by_duckdb(question)
    if "order by" not in question:
        answer, expected = sorted(answer, key=repr), sorted(expected, key=repr)
    assert answer == expected
    assert answer, "a question that nothing answers proves nothing"


@pytest.mark.parametrize("mart", ["campaign_daily", "funnel_daily", "auction_daily"])
def test_a_mart_is_the_same_in_every_value_and_holds_no_time_that_trino_would_round(
    warehouse: Warehouse, mart: str
) -> None:
    columns = pa.schema(warehouse.lake.open(TableName("marts", mart)).schema().to_arrow())
    assert not [field.name for field in columns if pa.types.is_timestamp(field.type)]
    names = ", ".join(f'"{name}"' for name in columns.names)
    sql = f"select {names} from marts.{mart} order by {names}"
    rows = warehouse.by_trino(sql)
    assert rows
    assert rows == warehouse.by_duckdb(sql)


def test_trino_rounds_event_times_to_milliseconds(warehouse: Warehouse) -> None:
    sql = "select event_id, event_ts from silver.impressions order by event_id"
    with open_lake(warehouse.lake) as connection:
        whole = connection.execute(sql).fetchall()
    assert any(time.microsecond % 1000 >= 500 for _, time in whole), "else it could as well cut them off"
    assert warehouse.by_trino(sql) == [(event, rounded(time)) for event, time in whole]


SPARK_BY_METASTORE = """
from ad_lakehouse.dbt_spark.session import session
print(sorted(map(tuple, session().sql("select * from marts.campaign_daily").collect()), key=repr))
"""


def test_spark_finds_tables_by_the_metastore(
    warehouse: Warehouse, engine: QueryEngine, unavailable: Callable[[str], None], tmp_path: Path
) -> None:
    try:
        require_spark()
        client = fetched(HIVE_CLIENT)
    except (SparkUnavailable, FetchFailed) as error:
        unavailable(str(error))
        return
    (block,) = SPARK_CONF.findall((ROOT / "docs/query-engines.md").read_text())
    jars = ",".join(f"file://{folder}/*.jar" for folder in (client, engine.hive, *engine.hive.glob("*/lib")))
    here = {"metastore.internal:9083": f"127.0.0.1:{engine.metastore_port}", "file:///opt/hive/lib/*.jar": jars}
    assert all(block.count(said) == 1 for said in here)
    conf = reduce(lambda text, said: text.replace(said, here[said]), here, block)
    own = {
        "AD_LAKEHOUSE_SPARK__CONF": conf,
        "AD_LAKEHOUSE_SPARK__DRIVER_MEMORY": "1g",
        "AD_LAKEHOUSE_TRANSFORM__TEMP_FOLDER": str(tmp_path),
    }
    asked = subprocess.run(
        [sys.executable, "-c", SPARK_BY_METASTORE],
        env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr[-3000:]
    expected = sorted(warehouse.by_duckdb("select * from marts.campaign_daily"), key=repr)
    assert expected
    assert asked.stdout.strip().splitlines()[-1] == repr(expected)


def test_a_dropped_table_is_unregistered_a_moved_one_moved_and_a_foreign_one_left(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    root = Path(warehouse.lake.root)
    shutil.copytree(root / "marts/funnel_daily", root / "marts/funnel_copy")
    shutil.copytree(root / "marts/funnel_daily", tmp_path / "others")
    trino = warehouse.trino
    trino.rows(f"call lake.system.register_table('marts', 'of_others', 'file://{tmp_path}/others')")
    trino.rows("call lake.system.unregister_table('marts', 'auction_daily')")
    trino.rows(f"call lake.system.register_table('marts', 'auction_daily', 'file://{tmp_path}/others')")
    try:
        planned = warehouse.cli("register", "--dry-run").stdout
        done = {str(each.name): each for each in register(warehouse.lake, warehouse.settings.trino)}
        assert done["marts.funnel_copy"].step is Step.REGISTERED
        assert done["marts.of_others"].step is Step.FOREIGN
        assert done["marts.auction_daily"].step is Step.MOVED
        assert done["marts.auction_daily"].before == f"file://{tmp_path}/others"
        assert {each.step for name, each in done.items() if name not in planned} == {Step.UNCHANGED}
        sql = "select count(*), sum(bids) from marts.auction_daily"
        assert warehouse.by_trino(sql) == warehouse.by_duckdb(sql)
        shutil.rmtree(root / "marts/funnel_copy")
        gone = warehouse.cli("register")
        assert gone.returncode == 0
        assert "marts.funnel_copy" in gone.stdout
        assert "unregistered" in gone.stdout
        left = [table for (table,) in trino.rows("show tables from marts")]
        assert left == ["auction_daily", "campaign_daily", "funnel_daily", "of_others"]
        assert (tmp_path / "others/_delta_log").is_dir(), "data are never touched"
    finally:
        shutil.rmtree(root / "marts/funnel_copy", ignore_errors=True)
        trino.rows("call lake.system.unregister_table('marts', 'of_others')")


def test_a_table_that_trino_cannot_read_now_stays_registered_and_is_told(warehouse: Warehouse) -> None:
    log = Path(warehouse.lake.root) / "marts/funnel_daily/_delta_log"
    kept = log.with_name("kept")
    shutil.copytree(log, kept)
    try:
        for entry in log.glob("*.json"):
            entry.write_text('{"metaData": "cut o')
        warehouse.trino.rows("call lake.system.flush_metadata_cache()")
        left = [each for each in register(warehouse.lake, warehouse.settings.trino) if each.step is not Step.UNCHANGED]
        assert [(str(each.name), each.step) for each in left] == [("marts.funnel_daily", Step.UNREAD)]
        told = warehouse.cli("register")
        assert told.returncode == 1
        assert "1 failed" in told.stdout
        assert ("funnel_daily",) in warehouse.trino.rows("show tables from marts")
    finally:
        shutil.rmtree(log)
        kept.rename(log)
    assert warehouse.cli("register").returncode == 0
    sql = "select sum(bids) from marts.funnel_daily"
    assert warehouse.by_trino(sql) == warehouse.by_duckdb(sql)


def test_new_rows_and_new_columns_are_seen_without_another_run(warehouse: Warehouse, tmp_path: Path) -> None:
    counted = "select count(*), max(_landed_at) from bronze.impressions where event_date is not null"
    before = warehouse.by_trino(counted)
    row = {"creative_id": "cr-1", "user_id": "u-new", "event_ts": "2026-11-20T10:00:00Z", "site": "news.example"}
    (tmp_path / "impressions.jsonl").write_text(json.dumps(row) + "\n")
    landed = land_all(warehouse.lake, warehouse.settings, folder=str(tmp_path), topics=False, settle_seconds=0.0)
    assert (landed.files[0].rows, landed.files[0].rejected.total()) == (1, 0)
    name = TableName("bronze", "impressions")
    warehouse.lake.open(name).alter.add_columns([Field("added_later", PrimitiveType("string"))])
    after = warehouse.by_trino(counted)
    assert after[0][0] == before[0][0] + 1
    assert after == warehouse.by_duckdb(counted)
    assert warehouse.by_trino("select count(added_later) from bronze.impressions") == [(0,)]


def test_a_table_that_is_made_anew_where_it_stood_is_read_anew(warehouse: Warehouse) -> None:
    name = TableName("ops", "trial")
    for column in ("one", "two"):
        table = warehouse.lake.create(name, pa.schema([(column, pa.int64())]))
        write_deltalake(table, pa.table({column: [1, 2] if column == "one" else [7]}), mode="append")
        register(warehouse.lake, warehouse.settings.trino)
        assert warehouse.by_trino(f"select sum({column}) from ops.trial") == [(3,) if column == "one" else (7,)]
        shutil.rmtree(Path(warehouse.lake.root) / "ops/trial")
    register(warehouse.lake, warehouse.settings.trino)


def test_dagster_registers_where_a_trino_is_set_and_only_there(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    prepare()
    without = code_location(warehouse.settings.model_copy(update={"trino": TrinoSettings()}))
    assert not without.get_repository_def().has_job("register")
    location = code_location(warehouse.settings)
    sensor = location.get_repository_def().get_sensor_def("register_what_came_or_went")
    warehouse.trino.rows("call lake.system.unregister_table('marts', 'funnel_daily')")
    with dg.DagsterInstance.ephemeral() as instance:
        asked = dg.build_sensor_context(
            instance, repository_def=location.get_repository_def(), resources={"settings": warehouse.settings}
        )
        (wanted,) = sensor.evaluate_tick(asked).run_requests
        assert wanted
        done = location.resolve_job_def("register").execute_in_process(instance=instance)
        (event,) = done.get_asset_materialization_events()
        told = event.materialization.metadata
        assert told["tables"].value == len(warehouse.lake.tables())
        assert told["changed"].value == 1
        assert "| marts.funnel_daily | registered |" in str(told["changes"].value)
    assert warehouse.by_trino("select count(*) from marts.funnel_daily")[0][0]


def test_what_cannot_be_registered_is_told_with_the_remedy(warehouse: Warehouse) -> None:
    nobody = warehouse.cli("register", TRINO__PORT="1")
    assert nobody.returncode == 42
    assert "No Trino answers at http://127.0.0.1:1" in nobody.stderr
    missing = warehouse.cli("register", TRINO__CATALOG="nowhere")
    assert missing.returncode == 43
    assert "AD_LAKEHOUSE_TRINO__CATALOG" in missing.stderr
    unfit = warehouse.cli("register", TRINO__CATALOG="system")
    assert unfit.returncode == 43
    assert "Delta Lake connector" in unfit.stderr
    unset = warehouse.cli("register", TRINO__HOST="")
    assert unset.returncode == 2
    assert "AD_LAKEHOUSE_TRINO__HOST" in unset.stderr
    clear = warehouse.cli("register", TRINO__PASSWORD="secret word")  # noqa: S106
    assert clear.returncode == 2
    assert "HTTPS" in clear.stderr
    assert "secret word" not in clear.stderr + clear.stdout
