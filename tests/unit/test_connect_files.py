"""Connector files, what differs from the worker, what must not be shown; none of it needs a worker."""

import json
import re
from pathlib import Path

import pytest

from ad_lakehouse.connect.apply import raise_if_refused
from ad_lakehouse.connect.connectors import Connector, load_connectors
from ad_lakehouse.connect.differences import HIDDEN, differences
from ad_lakehouse.connect.rest import ConnectApi, ConnectUnreachable
from ad_lakehouse.connect.states import first_line
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import ConnectSettings, load_settings

SHIPPED = Path(__file__).parents[2] / "docker" / "connect" / "connectors"


def test_the_shipped_connectors_are_valid_and_write_to_topics_of_ours() -> None:
    (impressions,) = load_connectors(SHIPPED)
    assert (impressions.name, impressions.config["topic"]) == ("impressions", "ad.impressions")
    assert impressions.config["exactly.once.support"] == "required"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "one.json:1: not JSON"),
        ("[]", "one.json: file is no JSON object"),
        ('{"name": "one"}', "one.json: config is missing"),
        ('{"name": "two", "config": {"connector.class": "C"}}', "one.json: name is not 'one'"),
        ('{"name": "one", "config": {}, "topics": "t"}', "one.json: topics is no field here"),
        ('{"name": "one", "config": {"topic": "t"}}', "one.json: config.connector.class is missing"),
        ('{"name": "one", "config": {"connector.class": "C", "t": ["s3cret"]}}', "one.json: config.t is no text"),
        ('{"name": "one", "config": {"connector.class": "C", "t": "1", "t": "2"}}', "one.json: t is there twice"),
        ('{"name": "one", "config": {"connector.class": "C", "name": "x"}}', "one.json: config.name is not 'one'"),
    ],
)
def test_a_wrong_file_is_told_with_file_and_field_but_not_its_value(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(ConfigurationError) as error:
        load_connectors(tmp_path)
    assert told in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_folder_without_connectors_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match="AD_LAKEHOUSE_CONNECT__CONNECTORS"):
            load_connectors(folder)


def test_numbers_and_truths_are_the_texts_the_worker_gives_back(tmp_path: Path) -> None:
    config = {"connector.class": "C", "tasks.max": 1, "errors.log.enable": True}
    (tmp_path / "one.json").write_text(json.dumps({"name": "one", "config": config}))
    (one,) = load_connectors(tmp_path)
    assert one.config == {"connector.class": "C", "tasks.max": "1", "errors.log.enable": "true"}
    assert differences({"name": "one", **one.config}, one.config) == []


def test_differences_name_each_field_and_hide_secrets() -> None:
    now = {"name": "one", "topic": "a", "sasl.jaas.config": "old", "gone": "x", "pin": "1111", "url": "http://u:p@h/"}
    wanted = {"topic": "b", "sasl.jaas.config": "new", "db.password": "${env:PASSWORD}", "pin": "2222"}
    found = [str(each) for each in differences(now, wanted, secrets={"pin"})]
    assert found == [
        "+ db.password: ${env:PASSWORD}",
        "- gone: x",
        f"~ pin: {HIDDEN} → {HIDDEN}",
        f"~ sasl.jaas.config: {HIDDEN} → {HIDDEN}",
        "~ topic: a → b",
        "- url: http://***@h/",
    ]


def test_the_reason_of_a_failure_is_its_first_line_and_its_innermost_cause() -> None:
    trace = (
        "org.apache.kafka.connect.errors.ConnectException: Unrecoverable exception\n\tat a.B.c(B.java:1)\n"
        "Caused by: org.apache.kafka.common.errors.RecordTooLargeException: The message is too large\n"
    )
    assert first_line(trace) == (
        "ConnectException: Unrecoverable exception ← RecordTooLargeException: The message is too large"
    )
    assert first_line("") == ""


@pytest.mark.parametrize("url", ["connect:8083", "http://user:s3cret@connect:8083"])
def test_a_url_that_is_none_or_holds_a_password_is_refused_and_not_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AD_LAKEHOUSE_CONNECT__URL", url)
    with pytest.raises(ConfigurationError, match="AD_LAKEHOUSE_CONNECT__URL") as error:
        load_settings()
    assert "s3cret" not in str(error.value)


def test_a_worker_that_is_not_there_is_asked_again_and_then_told() -> None:
    waits: list[float] = []
    with pytest.raises(ConnectUnreachable, match="asked: ConnectionError") as error:
        ConnectApi(ConnectSettings(url="http://127.0.0.1:1"), waits.append).ask("/connectors")
    assert (error.value.exit_code, waits) == (45, [0.5, 1.0, 2.0, 4.0])


def test_a_refusal_quotes_no_resolved_reference_and_no_secret(tmp_path: Path) -> None:
    config = {"connector.class": "C", "file": "${env:FILE}", "db.password": "literal", "topic": "", "size": "${env:S}"}
    one = Connector("one", config, tmp_path / "one.json")
    topic = {"name": "topic", "errors": ["topic is empty (s3cret, literal)\nand more"]}
    with pytest.raises(
        ConfigurationError, match=re.escape("config.topic is refused by the worker: topic is empty")
    ) as e:
        raise_if_refused(one, [topic], set(), {"file": "s3cret", "topic": ""})
    assert e.value.message.endswith("topic is empty (***, ***).")
    wrong = [{"name": name, "errors": ["Invalid value s3cret"]} for name in ("exactly.once.support", "size")]
    with pytest.raises(ConfigurationError, match=r"config\.size is refused") as e:
        raise_if_refused(one, [topic, *wrong], set(), {"size": None})
    assert "s3cret" not in str(e.value)
