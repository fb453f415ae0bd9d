"""The command line as a user runs it: in a process of its own, with exit codes and plain errors."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from command_line import cli
from deltalake import DeltaTable, write_deltalake
from landing_topics import impression, new_topic, publish

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.errors import LakehouseError


def test_files_land_and_are_queried_in_three_formats(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_bytes(b"\n".join([impression(1), impression(2), b"{broken"]) + b"\n")
    landed = cli(tmp_path, "land", "--files", "drop")
    assert landed.returncode == 0, landed.stderr
    query = "select user_id from bronze.impressions order by 1"
    assert cli(tmp_path, "sql", query, "--format", "csv").stdout.split() == ["user_id", "u1", "u2"]
    lines = cli(tmp_path, "sql", query, "--format", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"user_id": "u1"}, {"user_id": "u2"}]
    assert "u2" in cli(tmp_path, "sql", query).stdout
    again = cli(tmp_path, "land", "--files", "drop")
    assert "already landed" in again.stdout
    assert cli(tmp_path, "sql", "select count(*) as n from bronze.impressions", "--format", "csv").stdout.split() == [
        "n",
        "2",
    ]


def test_quarantine_lists_and_shows_what_was_rejected(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_bytes(b'{"broken \xff\n')
    assert cli(tmp_path, "land", "--files", "drop").returncode == 0
    listed = cli(tmp_path, "quarantine", "list")
    assert "invalid_json" in listed.stdout
    key = cli(tmp_path, "sql", "select _batch || ':0:' || _row from quarantine", "--format", "csv").stdout.split()[-1]
    shown = cli(tmp_path, "quarantine", "show", key)
    assert '{"broken \\xff' in shown.stdout
    assert "a.jsonl#0" in shown.stdout


def test_unreachable_broker_has_its_own_exit_code_and_changes_nothing(tmp_path: Path) -> None:
    done = cli(tmp_path, "land", KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 20, done.stderr
    assert "127.0.0.1:1 does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kafka
def test_missing_topic_has_its_own_exit_code_and_changes_nothing(tmp_path: Path, kafka: KafkaBroker) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "impressions.yml").write_text("name: impressions\ntopic: nobody.made.this\n")
    done = cli(
        tmp_path, "land", "--source", "impressions",
        KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap, LANDING__SOURCES=str(tmp_path / "sources"),
    )  # fmt: skip
    assert done.returncode == 21, done.stderr
    assert "nobody.made.this does not exist" in done.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.kafka
def test_topic_of_the_users_own_name_lands_by_settings_only(tmp_path: Path, kafka: KafkaBroker) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(each) for each in range(10)])
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "impressions.yml").write_text(f"name: impressions\ntopic: {topic}\n")
    given = {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "LANDING__SOURCES": str(tmp_path / "sources")}
    done = cli(tmp_path, "land", "--source", "impressions", **given)
    assert done.returncode == 0, done.stderr
    assert cli(tmp_path, "sql", "select count(*) as n from bronze.impressions", "--format", "csv").stdout.split() == [
        "n",
        "10",
    ]


def test_foreign_table_and_newer_format_have_their_own_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    foreign = tmp_path / "lake" / "bronze" / "impressions"
    write_deltalake(str(foreign), pa.table({"a": [1]}))
    done = cli(tmp_path, "land", "--files", "drop", "--source", "impressions")
    assert done.returncode == 3, done.stderr
    assert DeltaTable(str(foreign)).version() == 0
    newer = tmp_path / "newer" / "bronze" / "impressions"
    newer.parent.mkdir(parents=True)
    schema = pa.schema([("a", pa.int64())])
    DeltaTable.create(str(newer), schema, configuration={"ad_lakehouse.format": "99"}, raise_if_key_not_exists=False)
    done = cli(tmp_path, "land", "--files", "drop", "--source", "impressions", "--lake", "newer")
    assert done.returncode == 4, done.stderr
    assert "Upgrade ad-lakehouse" in done.stderr


def test_wrong_setting_and_wrong_source_file_name_the_place(tmp_path: Path) -> None:
    done = cli(tmp_path, "status", LANDING__MAX_BATCH_ROWS="0")
    assert done.returncode == 2
    assert "AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS" in done.stderr
    done = cli(tmp_path, "status", KAFKA__BOOTSTRAP="broker:9092")
    assert done.returncode == 2
    assert "AD_LAKEHOUSE_KAFKA__BOOTSTRAP" in done.stderr
    done = cli(tmp_path, "status", KAFKA__CLIENT="{x")
    assert done.returncode == 2
    assert "AD_LAKEHOUSE_KAFKA" in done.stderr
    done = cli(tmp_path, "status", LAKE="a[1]")
    assert done.returncode == 2
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "impressions.yml").write_text("name: impressions\nmapping:\n  creativ_id: imp.creative\n")
    done = cli(tmp_path, "init", LANDING__SOURCES=str(tmp_path / "sources"))
    assert done.returncode == 2
    assert "impressions.yml:3" in done.stderr
    assert "creative_id" in done.stderr


def test_wrong_sql_names_the_tables_there_are(tmp_path: Path) -> None:
    assert cli(tmp_path, "init").returncode == 0
    done = cli(tmp_path, "sql", "select * from bronze.imps")
    assert done.returncode == 6
    assert "bronze.impressions" in done.stderr


def test_markup_in_data_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_bytes(impression(1, price_micros="[/b]") + b"\n")
    assert cli(tmp_path, "land", "--files", "drop").returncode == 0
    listed = cli(tmp_path, "quarantine", "list")
    assert listed.returncode == 0, listed.stderr
    assert "[/b]" in listed.stdout
    assert "[bot] x" in cli(tmp_path, "sql", "select '[bot] x' as a").stdout


def test_file_that_cannot_be_read_is_told_and_the_others_land(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    (tmp_path / "drop" / "z.jsonl").write_bytes(impression(1) + b"\n")
    done = cli(tmp_path, "land", "--files", "drop")
    assert done.returncode == 1, done.stderr
    assert "broken" in done.stdout
    assert cli(tmp_path, "sql", "select count(*) as n from bronze.impressions", "--format", "csv").stdout.split() == [
        "n",
        "1",
    ]


def test_earlier_version_of_a_dimension_holds_again_when_it_is_dropped_again(tmp_path: Path) -> None:
    (tmp_path / "drop" / "dimensions").mkdir(parents=True)
    file = tmp_path / "drop" / "dimensions" / "advertisers.csv"
    for moment, name in enumerate(["Alpha", "Beta", "Alpha"], 1_700_000_000):
        file.write_text(f"advertiser_id,name\na1,{name}\n")
        os.utime(file, (moment, moment))
        assert cli(tmp_path, "land", "--files", "drop").returncode == 0
    newest = "select name from bronze.advertisers order by _landed_at desc limit 1"
    assert cli(tmp_path, "sql", newest, "--format", "csv").stdout.split() == ["name", "Alpha"]
    assert "already landed" in cli(tmp_path, "land", "--files", "drop").stdout


def test_alerts_test_without_a_channel_says_how_to_set_one(tmp_path: Path) -> None:
    done = cli(tmp_path, "alerts", "test")
    assert "No channel is configured" in done.stdout


def test_each_error_has_an_exit_code_of_its_own() -> None:
    import ad_lakehouse.cli
    import ad_lakehouse.dbt_delta.plugin
    import ad_lakehouse.printing
    import ad_lakehouse.quality.audit  # noqa: F401
    import kafka_sinks.sink  # noqa: F401 all places that define errors

    def below(kind: type[LakehouseError]) -> list[type[LakehouseError]]:
        return [each for child in kind.__subclasses__() for each in (child, *below(child))]

    codes: dict[int, set[str]] = {}
    for kind in below(LakehouseError):
        codes.setdefault(kind.exit_code, set()).add(kind.__name__)
    shared = {code: names for code, names in codes.items() if len(names) > 1 and code != 1}
    assert shared == {}
