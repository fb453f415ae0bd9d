"""Settings come from the environment or secret files, and errors name the variable."""

from pathlib import Path

import pytest

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import load_settings


def test_nested_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS", "1000")
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "broker:9092"
    assert settings.landing.max_batch_rows == 1000


def test_secret_comes_from_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ad_lakehouse_alerts").write_text('{"slack_bot_token": "xoxb-very-secret"}')
    monkeypatch.setenv("AD_LAKEHOUSE_SECRETS_DIR", str(tmp_path))
    settings = load_settings()
    assert settings.alerts.slack_bot_token is not None
    assert settings.alerts.slack_bot_token.get_secret_value() == "xoxb-very-secret"
    assert "very-secret" not in repr(settings)


def test_wrong_value_names_variable_problem_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS", "many")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "AD_LAKEHOUSE_LANDING__MAX_BATCH_ROWS" in caught.value.message
    assert "valid integer" in caught.value.message
    assert caught.value.exit_code == 2


def test_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_LAKE", "/elsewhere")
    assert load_settings(lake="here").lake == "here"
    assert load_settings(lake=None).lake == "/elsewhere"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AD_LAKEHOUSE_DROPFOLDER", "AD_LAKEHOUSE_DROP_FOLDER"),
        ("AD_LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS", "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS"),
        ("AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVER", "AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS"),
        ("AD_LAKEHOUSE_KAFKAA__CLIENT", "AD_LAKEHOUSE_KAFKA"),
    ],
)
def test_a_misspelt_setting_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message == f"{variable}: there is no such setting."
    assert caught.value.remedy == f"Did you mean {meant}?"


def test_a_setting_like_no_other_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_ZZZZZZ", "x")
    with pytest.raises(ConfigurationError, match=r"^AD_LAKEHOUSE_ZZZZZZ: there is no such setting"):
        load_settings()


def test_a_folder_of_secrets_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"AD_LAKEHOUSE_SECRETS_DIR: there is no folder"):
        load_settings()
