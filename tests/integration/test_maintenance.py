"""Care of tables: fewer files and shorter logs, and nobody notices: no row changes, nothing is built anew.

Belongs here: `maintain` on real tables and on a real Dagster location. Not here: compaction beside a worker that
lands (tests/faults).
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_lake import PROJECT, DagsterLake, impressions, target_in
from deltalake import DeltaTable
from landing_topics import IMPRESSIONS, rows

import ad_lakehouse.maintenance
from ad_lakehouse.dbt_delta.run import plan
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.maintenance import SmallFiles, compact, vacuum
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.lake.writer import WRITER
from ad_lakehouse.landing import create_tables
from ad_lakehouse.maintenance import Cared, maintain
from ad_lakehouse.quality.ledger import write_ledger
from ad_lakehouse.settings import LandingSettings, MaintenanceSettings, Settings
from kafka_sinks.sources import load_sources

SETTINGS = MaintenanceSettings(min_files=3)
MONTHS = timedelta(days=60)
COLUMNS = "_file, _row, event_id, _reason"


@pytest.fixture(scope="module", autouse=True)
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with target_in(tmp_path_factory.getbasetemp() / "dagster_target"):
        yield


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def landed(lake: Lake, tmp_path: Path) -> Lake:
    """Twelve commits to one day, with rejected rows, all of them months old."""
    drop = tmp_path / "drop"
    drop.mkdir()
    for number in range(12):
        (drop / f"{number:02d}.jsonl").write_text(impressions(5, first=5 * number) + "{bad\n")
    land_files(lake, load_sources(), drop, Settings(landing=LandingSettings()))
    grow_old(lake)
    return lake


def grow_old(lake: Lake) -> None:
    """All files of the table were written months ago."""
    then = time.time() - MONTHS.total_seconds()
    for path in folder_of(lake).rglob("*.*"):
        os.utime(path, (then, then))


def folder_of(lake: Lake) -> Path:
    return Path(lake.uri(IMPRESSIONS))


def log_entries(lake: Lake) -> set[str]:
    return {path.name for path in (folder_of(lake) / "_delta_log").glob("0*.*")}


def of_impressions(cared: list[Cared]) -> Cared:
    (found,) = [each for each in cared if each.name == IMPRESSIONS]
    return found


def test_small_files_of_a_day_and_of_rejected_rows_become_one_and_no_row_changes(landed: Lake) -> None:
    before, version = rows(landed, COLUMNS), landed.open(IMPRESSIONS).version()
    cared = of_impressions(maintain(landed, SETTINGS))
    assert (cared.compacted.partitions, cared.compacted.removed, cared.compacted.added) == (2, 24, 2)
    table = landed.open(IMPRESSIONS)
    assert len(table.file_uris()) == cared.files == 2
    assert rows(landed, COLUMNS) == before
    assert len(before) == 72
    assert TableLog(landed, IMPRESSIONS).changed_days("event_date", version, table.version()) == set()
    assert of_impressions(maintain(landed, SETTINGS)).compacted.removed == 0, "what is compacted stays"


def test_files_of_a_pinned_version_stay_readable_and_those_nobody_needs_go(landed: Lake) -> None:
    folder = folder_of(landed)
    old, young = folder / "event_date=2026-01-01" / "part-old.parquet", folder / "part-young.parquet"
    for path in (old, young):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of a commit that never came")
    os.utime(old, (time.time() - MONTHS.total_seconds(),) * 2)
    pinned = Snapshot.of(IMPRESSIONS, landed.open(IMPRESSIONS))
    cared = of_impressions(maintain(landed, SETTINGS))
    assert cared.compacted.removed == 24
    assert cared.vacuumed == 1
    assert (old.exists(), young.exists()) == (False, True)
    with connect() as connection:
        (count,) = connection.execute(f"select count(*) from ({pinned.query(connection, pinned.files)})").fetchone()
    assert count == 72


def test_files_of_a_version_that_a_build_will_compare_with_stay_however_old(landed: Lake) -> None:
    table = landed.open(IMPRESSIONS)
    read = table.version()
    compact(table, SmallFiles.of(table, target_bytes=SETTINGS.target_bytes, at_least=3), target_bytes=10**8)
    assert vacuum(table, hours=0, keep={read}, dry_run=False) == 0
    assert vacuum(table, hours=0, keep=(), dry_run=False) == 24


def test_the_log_goes_back_to_the_last_reader_and_to_a_checkpoint_only(landed: Lake, tmp_path: Path) -> None:
    write_ledger(landed)
    counted = landed.open(IMPRESSIONS).version()
    drop = tmp_path / "drop"
    for number in range(12, 24):
        (drop / f"{number}.jsonl").write_text(impressions(5, first=5 * number))
    land_files(landed, load_sources(), drop, Settings(landing=LandingSettings()))
    landed.open(IMPRESSIONS).create_checkpoint()
    grow_old(landed)
    later = datetime.now(UTC) + MONTHS

    nobody_counted = landed.open(IMPRESSIONS).version()
    care = ad_lakehouse.maintenance.Care(landed, IMPRESSIONS, SETTINGS, dry_run=False)
    readers = ad_lakehouse.maintenance.log_readers(landed, landed.tables())[IMPRESSIONS]
    assert min(each.version for each in readers) == counted < nobody_counted
    care.remove(readers, later)
    assert care.done.log_entries == 0, "no checkpoint stands before what the ledger has not counted"

    balanced = write_ledger(landed)
    assert not balanced.unbalanced
    cared = of_impressions(maintain(landed, SETTINGS, now=later))
    assert cared.log_entries == nobody_counted  # all behind the checkpoint
    assert not [name for name in log_entries(landed) if name < f"{nobody_counted:020d}"]
    assert landed.open(IMPRESSIONS, version=nobody_counted).version() == nobody_counted
    again = write_ledger(landed, recount=True)
    assert not again.unbalanced
    assert sum(row.delivered for row in again.rows) == sum(row.delivered for row in balanced.rows) == 132
    assert sum(row.unverified for row in again.rows) == 0


def test_a_dry_run_says_what_would_be_done_and_does_nothing(landed: Lake) -> None:
    before = {path: path.stat().st_mtime for path in folder_of(landed).rglob("*")}
    cared = of_impressions(maintain(landed, SETTINGS, dry_run=True))
    assert (cared.compacted.partitions, cared.compacted.removed) == (2, 24)
    assert {path: path.stat().st_mtime for path in folder_of(landed).rglob("*")} == before


def test_another_engines_table_is_left_and_told(landed: Lake) -> None:
    landed.open(IMPRESSIONS).alter.set_table_properties({WRITER: "spark"}, raise_if_not_exists=False)
    cared = of_impressions(maintain(landed, SETTINGS))
    assert "is written by spark" in cared.remark
    assert not cared.failed
    assert len(landed.open(IMPRESSIONS).file_uris()) == 24


def test_a_writer_that_replaces_the_same_files_meanwhile_wins(landed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    compact = ad_lakehouse.maintenance.compact

    def overtaken(table: DeltaTable, *rest: object, **more: object) -> object:
        landed.open(IMPRESSIONS).delete("event_id = 'i0'")
        return compact(table, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ad_lakehouse.maintenance, "compact", overtaken)
    cared = of_impressions(maintain(landed, SETTINGS))
    assert "the next run compacts them" in cared.remark
    assert not cared.failed
    assert cared.compacted.removed == 0
    assert len(rows(landed, COLUMNS)) == 71


def test_a_table_that_cannot_be_cared_for_does_not_keep_the_others_from_it(landed: Lake) -> None:
    broken = TableName("bronze", "clicks")
    landed.create(broken, landed.open(IMPRESSIONS).schema().to_arrow())
    log = Path(landed.uri(broken)) / "_delta_log" / f"{0:020d}.json"
    log.write_text(log.read_text().replace('"ad_lakehouse.format"', '"somebody.else"'))
    cared = maintain(landed, SETTINGS, remove=False)
    assert [str(each.name) for each in cared if each.failed] == ["bronze.clicks"]
    assert of_impressions(cared).compacted.removed == 24


def test_the_nightly_run_changes_nothing_below(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    site = DagsterLake.at(tmp_path)
    create_tables(site.lake, load_sources())
    site.settings.maintenance = SETTINGS
    sensor = site.location().get_repository_def().get_sensor_def("build_what_is_stale")
    for number in range(4):
        site.drop(f"{number}.jsonl", impressions(2, first=10 * number))
        site.run(instance, "land", "bronze.impressions", "quality.ledger")
    site.run(instance, "build")
    context = dg.build_sensor_context(instance, resources={"settings": site.settings})
    assert isinstance(sensor(context), dg.RunRequest)
    before = {name: site.version(name) for name in ("silver.shown", "marts.site_daily")}
    landed = site.version("bronze.impressions")

    repository = site.location().get_repository_def()
    ticks = {hour: schedule_tick(repository, instance, hour) for hour in (3, 4)}
    assert [ticks[hour].run_config["ops"]["maintain_tables"]["config"]["remove"] for hour in (3, 4)] == [True, False]
    done = site.location().resolve_job_def("maintain").execute_in_process(
        run_config=ticks[3].run_config, instance=instance
    )  # fmt: skip
    assert done.success
    assert site.version("bronze.impressions") > landed
    assert len(site.lake.open(IMPRESSIONS).file_uris()) == 1
    assert isinstance(sensor(context), dg.SkipReason)
    assert [each.days for each in plan(site.settings, project=PROJECT) if each.days] == []
    assert {name: site.version(name) for name in before} == before


def schedule_tick(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, hour: int) -> dg.RunRequest:
    at = datetime.now(UTC).replace(hour=hour, minute=23)
    context = dg.build_schedule_context(instance, scheduled_execution_time=at)
    answer = repository.get_schedule_def("maintain_hourly").evaluate_tick(context)
    (request,) = answer.run_requests or []
    return request
