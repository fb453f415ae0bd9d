"""What a user mistypes or lacks is told with its remedy: nothing is made, and the command does not end well.

Belongs here: commands that would look as if all were fine. Not here: wrong values of settings (unit/test_settings.py).
"""

from pathlib import Path

import pytest
from command_line import cli, cli_here
from landing_topics import impression, new_topic, publish

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.files import replay
from ad_lakehouse.files.replay import decode_again
from kafka_sinks.sources import Source


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """A folder with a lake of two impressions, one of them rejected."""
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop/a.jsonl").write_bytes(impression(1) + b"\n{broken\n")
    assert cli(tmp_path, "land", "--files", "drop").returncode == 0
    return tmp_path


@pytest.mark.parametrize("command", ["check", "maintain", "status"])
def test_a_lake_without_tables_is_named_and_nothing_is_made(tmp_path: Path, command: str) -> None:
    done = cli(tmp_path, command, LAKE="elsewhere")
    assert (command == "check") == bool(done.returncode)
    assert "elsewhere" in done.stdout + done.stderr
    assert "AD_LAKEHOUSE_LAKE" in done.stdout + done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("build", "--select", "campagn_daily"), "--select campagn_daily: no model is called so"),
        (("quarantine", "list", "--source", "impresions"), "No source is named impresions. There are: "),
        (("quarantine", "replay", "--source", "impresions"), "No source is named impresions. There are: "),
        (("quarantine", "list", "--limit", "0"), "greater than or equal to 1"),
        (("alerts", "retry", "freshness/impresions"), "No alert 'freshness/impresions' has messages."),
        (("land", "--files", "drop/a.jsonl"), "that is a file"),
        (("status", "--lake", "s3:/bucket/lake"), "two slashes come after the colon"),
        (("ui", "--port", "99999"), "less than or equal to 65535"),
    ],
)
def test_what_is_not_there_is_no_success(landed: Path, command: tuple[str, ...], told: str) -> None:
    done = cli(landed, *command, LAKE=str(landed / "lake"))
    assert done.returncode != 0
    assert told in " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_the_version_is_told() -> None:
    assert cli_here("--version").stdout.startswith("ad-lakehouse 0.")


def test_an_empty_query_is_none_and_zero_is_no_exponent(landed: Path) -> None:
    for query in ("", " ;", "/* nothing */"):
        assert cli_here("sql", query, LAKE=str(landed / "lake")).returncode == 0
    shown = cli_here("sql", "select 0::decimal(18, 9) as n", "--format", "csv", LAKE=str(landed / "lake"))
    assert shown.stdout.split() == ["n", "0.000000000"]


def test_a_damaged_log_names_its_table(landed: Path) -> None:
    log = landed / "lake/bronze/impressions/_delta_log"
    next(iter(sorted(log.glob("*.json")))).write_text("garbage")
    done = cli(landed, "status")
    assert done.returncode == 5
    first, _, remedy = done.stderr.strip().partition("\n")
    assert first.startswith(f"The log of bronze.impressions at {landed}/lake/bronze/impressions cannot be read: ")
    assert remedy.startswith("It is damaged: ")
    assert "\n" not in remedy


def test_a_topic_that_the_users_own_yaml_misspells_is_an_error_and_the_others_land(
    tmp_path: Path, kafka: KafkaBroker
) -> None:
    topic = new_topic(kafka.bootstrap)
    publish(kafka.bootstrap, topic, [impression(1)])
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources/impressions.yml").write_text(f"topic: {topic}\n")
    (tmp_path / "sources/clicks.yml").write_text("topic: ad.cliks\n")
    given = {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "LANDING__SOURCES": "sources"}
    done = cli(tmp_path, "land", **given)
    assert done.returncode == 21
    assert done.stderr.startswith("Topic ad.cliks does not exist on ")
    assert "correct `topic` in the source's YAML" in done.stderr
    assert "Topic ad.conversions does not exist" in done.stdout, "not everyone has all topics of the built-in sources"
    counted = cli(tmp_path, "sql", "select count(*) as n from bronze.impressions", "--format", "csv")
    assert counted.stdout.split() == ["n", "1"]


def test_a_source_that_cannot_be_replayed_does_not_keep_back_the_others(
    landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landed / "drop/clicks.csv").write_text("event_ts,user_id,campaign_id,conversion_type\nno time,u1,c1,click\n")
    cli(landed, "land", "--files", "drop")

    def without_registry(source: Source, *given: object) -> object:
        if source.name == "clicks":  # which comes first
            raise ConfigurationError("No registry.")
        return decode_again(source, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(replay, "decode_again", without_registry)
    done = cli_here("quarantine", "replay", LAKE=str(landed / "lake"))
    assert (done.returncode, done.stderr) == (2, "No registry.")
    assert "impressions: 0 accepted now, 1 still rejected invalid_json 1" in done.stdout


def test_a_file_that_may_still_be_written_is_told_with_what_to_do(tmp_path: Path, kafka: KafkaBroker) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop/a.jsonl").write_bytes(impression(1) + b"\n")
    done = cli(tmp_path, "land", DROP_FOLDER="drop", KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap)
    assert done.returncode == 0, done.stderr
    assert "still being written" in done.stdout
    assert "changed a moment ago: land again" in done.stdout


def test_an_unreachable_broker_is_told_once(tmp_path: Path) -> None:
    done = cli(tmp_path, "land", KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 20
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr
