"""Care of tables: fewer files and shorter logs, and nobody notices: no row changes, nothing is built anew.

Belongs here: `maintain` on real tables and on a real Dagster location. Not here: compaction beside a worker that
lands (tests/faults).
"""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_lake import PROJECT, DagsterLake, impressions
from deltalake import DeltaTable
from landing_topics import IMPRESSIONS, rows

import ad_lakehouse.maintenance
from ad_lakehouse.dbt_delta.run import plan
from ad_lakehouse.defs.figures import changed_version
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.lake.log import TableLog
from ad_lakehouse.lake.maintenance import NOT_COMPACTED, SmallFiles, compact, vacuum
from ad_lakehouse.lake.views import Snapshot, connect
from ad_lakehouse.lake.writer import WRITER
from ad_lakehouse.landing import create_tables
from ad_lakehouse.maintenance import Cared, maintain
from ad_lakehouse.quality.ledger import write_ledger
from ad_lakehouse.settings import LandingSettings, MaintenanceSettings, Settings
from kafka_sinks.sources import load_sources

pytestmark = pytest.mark.usefixtures("target")
SETTINGS = MaintenanceSettings(min_files=3)
MONTHS = timedelta(days=60)
COLUMNS = "_file, _row, event_id, _reason"


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
    assert (cared.compacted.partitions, cared.compacted.fewer) == (2, 22)
    table = landed.open(IMPRESSIONS)
    assert len(table.file_uris()) == cared.files == 2
    assert rows(landed, COLUMNS) == before
    assert len(before) == 72
    assert TableLog(landed, IMPRESSIONS).changed_days("event_date", version, table.version()) == set()
    assert of_impressions(maintain(landed, SETTINGS)).compacted == NOT_COMPACTED, "what is compacted stays"


def test_files_of_a_pinned_version_stay_readable_and_those_nobody_needs_go(landed: Lake) -> None:
    folder = folder_of(landed)
    old, young = folder / "event_date=2026-01-01" / "part-old.parquet", folder / "part-young.parquet"
    for path in (old, young):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of a commit that never came")
    os.utime(old, (time.time() - MONTHS.total_seconds(),) * 2)
    pinned = Snapshot.of(IMPRESSIONS, landed.open(IMPRESSIONS))
    cared = of_impressions(maintain(landed, SETTINGS))
    assert cared.compacted.fewer == 22
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
    behind = {name for name in log_entries(landed) if name < f"{nobody_counted:020d}"}
    assert len([name for name in behind if name.endswith(".json")]) == nobody_counted
    cared = of_impressions(maintain(landed, SETTINGS, now=later))
    assert cared.log_entries == len(behind)  # all behind the checkpoint
    assert not [name for name in log_entries(landed) if name < f"{nobody_counted:020d}"]
    assert landed.open(IMPRESSIONS, version=nobody_counted).version() == nobody_counted
    again = write_ledger(landed, recount=True)
    assert not again.unbalanced
    assert sum(row.delivered for row in again.rows) == sum(row.delivered for row in balanced.rows) == 132
    assert sum(row.unverified for row in again.rows) == 0


def test_a_dry_run_says_what_would_be_done_and_does_nothing(landed: Lake) -> None:
    before = {path: path.stat().st_mtime for path in folder_of(landed).rglob("*")}
    cared = of_impressions(maintain(landed, SETTINGS, dry_run=True))
    assert (cared.compacted.partitions, cared.compacted.fewer, cared.files) == (2, 22, 2)
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
    assert cared.compacted == NOT_COMPACTED
    assert len(rows(landed, COLUMNS)) == 71


def test_a_table_that_cannot_be_cared_for_does_not_keep_the_others_from_it(landed: Lake) -> None:
    broken = TableName("bronze", "clicks")
    landed.create(broken, landed.open(IMPRESSIONS).schema().to_arrow())
    log = Path(landed.uri(broken)) / "_delta_log" / f"{0:020d}.json"
    log.write_text(log.read_text().replace('"ad_lakehouse.format"', '"somebody.else"'))
    cared = maintain(landed, SETTINGS)
    assert of_impressions(cared).compacted.fewer == 22
    assert "was not created by the ad lakehouse" in next(each.remark for each in cared if each.name == broken)
    assert all(each.failed for each in cared)
    assert "nothing was removed, since the ledger cannot be written" in of_impressions(cared).remark
    assert [each.name for each in maintain(landed, SETTINGS, remove=False) if each.failed] == [broken]


def test_what_builds_and_the_ledger_have_read_stays_however_old_it_is(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month without a build, in which the table it read was compacted and its log cleaned."""
    site = DagsterLake.at(tmp_path)
    create_tables(site.lake, load_sources())
    for number in range(4):
        site.drop(f"{number}.jsonl", impressions(2, first=10 * number))
        site.run(instance, "land", "bronze.impressions", "quality.ledger")
    site.run(instance, "build")
    read = site.version("bronze.impressions")
    last = TableName("marts", "site_totals")  # which nobody reads
    changed = changed_version(site.lake, last, site.version("marts.site_totals"))
    maintain(site.lake, SETTINGS, remove=False)
    assert len(site.lake.open(IMPRESSIONS).file_uris()) == 1
    site.lake.open(last).alter.set_table_properties({"owner": "marketing"}, raise_if_not_exists=False)
    age(site.lake, timedelta(days=60))
    for name in (IMPRESSIONS, last):
        site.lake.open(name).create_checkpoint()
    monkeypatch.setattr(ad_lakehouse.maintenance, "write_ledger", lambda _: None)  # it has not run since, either
    cared = maintain(site.lake, SETTINGS, now=datetime.now(UTC) + MONTHS)
    assert not any(each.failed for each in cared)
    assert sum(each.log_entries for each in cared) == 0, "each checkpoint stands behind what is still needed"

    then = Snapshot.of(IMPRESSIONS, site.lake.open(IMPRESSIONS, version=read))
    with connect() as connection:
        assert connection.execute(f"select count(*) from ({then.query(connection, then.files)})").fetchone() == (8,)
    assert {each.days for each in plan(site.settings, project=PROJECT)} == {frozenset()}
    assert changed_version(site.lake, last, site.version("marts.site_totals")) == changed
    assert not write_ledger(site.lake, recount=True).unbalanced


def age(lake: Lake, by: timedelta) -> None:
    """Everything in the lake was removed that much earlier, and written long before; it had no checkpoints yet."""
    for path in [*Path(lake.root).rglob("*.checkpoint.parquet"), *Path(lake.root).rglob("_last_checkpoint")]:
        path.unlink()
    for log in Path(lake.root).rglob("_delta_log/0*.json"):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= int(by.total_seconds() * 1000)
        log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    then = time.time() - (by + MONTHS).total_seconds()
    for path in Path(lake.root).rglob("*.*"):
        os.utime(path, (then, then))


@pytest.mark.parametrize(("days", "vacuumed"), [(20, 0), (40, 24)])
def test_files_are_kept_for_longer_than_a_week_when_that_is_set(landed: Lake, days: int, vacuumed: int) -> None:
    settings = MaintenanceSettings(min_files=3, vacuum_days=30)
    maintain(landed, settings)
    age(landed, timedelta(days=days))
    landed.open(IMPRESSIONS).create_checkpoint()  # which forgets what was removed long ago
    assert of_impressions(maintain(landed, settings)).vacuumed == vacuumed


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

    done = site.location().resolve_job_def("maintain").execute_in_process(instance=instance)
    assert done.success
    assert site.version("bronze.impressions") > landed
    assert len(site.lake.open(IMPRESSIONS).file_uris()) == 1
    assert isinstance(sensor(context), dg.SkipReason)
    assert [each.days for each in plan(site.settings, project=PROJECT) if each.days] == []
    assert {name: site.version(name) for name in before} == before
