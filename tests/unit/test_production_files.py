"""The production picture holds together: what one file names, the others have, pinned, without root, without secrets.

There is no Docker engine here: that the services run with these files is shown by tests/engines/test_production.py.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ad_lakehouse.cli import app
from ad_lakehouse.defs.instance import SETTINGS
from ad_lakehouse.settings import Settings, load_settings
from ad_lakehouse.warehouse.artefacts import METASTORE

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "AD_LAKEHOUSE_LAKE" in service.get("environment", {})]
ONE_SHOT = [name for name, service in SERVICES.items() if service["restart"] == "no"]
PINNED = re.compile(r"trinodb/trino:\d{3}|[\w./-]+:v?\d+(\.\d+)+[\w.-]*")
HIVE = DOCKER / "hive-metastore"
# Services of others: how their files name a variable, and which of these need not be given
ASKED: dict[str, tuple[str, list[Path], set[str]]] = {
    "connect": (
        r"\$\{env:(\w+)\}",
        [DOCKER / "connect/worker.properties", *DOCKER.glob("connect/connectors/*")],
        set(),
    ),
    "trino": (r"\$\{ENV:(\w+)\}", [*DOCKER.glob("trino/**/*.properties")], set()),
    "metastore": (
        r"\$\{?(?:env\.)?(METASTORE_\w+)",
        [HIVE / "metastore-site.xml", HIVE / "start.sh"],
        {"METASTORE_DB_PASSWORD", "METASTORE_HOME", "METASTORE_HEAP"},
    ),
}
KNOWN = {
    *("image", "build", "user", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "secrets", "environment"),
    *("command", "entrypoint", "volumes", "depends_on", "healthcheck", "networks", "ports", "deploy", "mem_limit"),
    *("stop_grace_period", "profiles", "network_mode"),
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of secrets, as docker/secrets.sh makes it."""
    copy = tmp_path_factory.mktemp("docker") / "secrets.sh"
    copy.write_text((DOCKER / "secrets.sh").read_text())
    subprocess.run(["sh", str(copy)], check=True, capture_output=True)
    return copy.parent / "secrets"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_known_and_not_root(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= KNOWN
    assert PINNED.fullmatch(service["image"]), service["image"]
    alone = service.get("network_mode") == "none" and name in ONE_SHOT
    assert alone or str(service["user"]) not in ("0", "root")
    assert name in {*ONE_SHOT, "monitor"} or "healthcheck" in service  # an alert watches over the monitor
    assert alone or service["networks"] == ["inside"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    for other, wanted in service.get("depends_on", {}).items():
        healthy = "healthcheck" in SERVICES[other]
        assert healthy if wanted["condition"] == "service_healthy" else other in ONE_SHOT
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    for file in re.findall(r"/run/secrets/(\w+)", json.dumps(service)):
        assert file in service["secrets"], file


def test_each_secret_is_made_and_none_is_said_in_a_file(secrets: Path) -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
        assert (secrets / name).read_text()
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", str(secrets.parent / "secrets.sh")], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before, "made once"
    assert not re.search(
        r"(?i)(password|secret|token)\w*['\"]?\s*[:=]\s*['\"]?\w", _without_files(DOCKER / "compose.yml")
    )


def _without_files(path: Path) -> str:
    """The text without what only names a file of secrets."""
    return re.sub(
        r"\w+_FILE: \S+|\w+: \{file: secrets/\w+\}|_SECRET_ACCESS_KEY=\\\\?\"\$\$\(cat .*\)\\\\?\"",
        "",
        path.read_text(),
    )


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_has_settings_we_know_and_a_command_that_is_one(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SERVICES[name]
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
        if variable.startswith("AD_LAKEHOUSE_") and variable != "AD_LAKEHOUSE_SECRETS_DIR":
            field = variable.removeprefix("AD_LAKEHOUSE_").split("__")[0].lower()
            assert field in Settings.model_fields, variable
    monkeypatch.setenv("AD_LAKEHOUSE_SECRETS_DIR", str(secrets))
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    secret = (secrets / "store_secret").read_text()
    assert settings.storage_options == {"aws_allow_http": "true", "aws_secret_access_key": secret}
    of_store = {name: value for name, value in service["environment"].items() if name.startswith("AWS_")}
    assert of_store == {
        name: value for name, value in SERVICES["trino"]["environment"].items() if name.startswith("AWS_")
    }
    assert of_store["AWS_ENDPOINT_URL"] == "http://store:7070"
    program, *arguments = service["command"]
    if program == "ad-lakehouse":
        asked = CliRunner().invoke(app, [*arguments, "--help"])
        assert asked.exit_code == 0, asked.output
    else:
        assert program in ("dagster", "dagster-daemon", "dagster-webserver")


@pytest.mark.parametrize("name", ASKED)
def test_a_service_has_each_variable_that_its_files_ask_for(name: str) -> None:
    pattern, files, spare = ASKED[name]
    asked = {variable for path in files for variable in re.findall(pattern, path.read_text())}
    service = SERVICES[name]
    exported = set(re.findall(r"export (\w+)=", " ".join(service.get("command", []))))
    assert asked >= spare
    assert asked - spare == {*service["environment"], *exported}


def test_the_metastore_of_the_image_is_the_one_whose_parts_are_fetched() -> None:
    text = (DOCKER / "lakehouse/Dockerfile").read_text()
    assert f"HIVE_METASTORE=/opt/artefacts/{METASTORE.folder.name}\n" in text
    assert "AD_LAKEHOUSE_CACHE=/opt/artefacts\n" in text


def test_the_instance_on_postgres_is_set_as_that_of_one_machine() -> None:
    here, there = yaml.safe_load(SETTINGS), yaml.safe_load((DOCKER / "dagster/dagster.yaml").read_text())
    assert "postgres" in there.pop("storage")
    assert there == here


@pytest.mark.parametrize("path", DOCKER.rglob("Dockerfile"), ids=lambda path: path.parent.name)
def test_an_image_is_pinned_copies_what_is_there_and_ends_without_root(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    stages = {match[1] for match in re.finditer(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE)}
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert image in stages or PINNED.fullmatch(image), image
    for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        users = re.findall(r"^USER (\S+)", stage, re.MULTILINE)
        assert users, "a stage that says no user is root"
        assert users[-1] not in ("0", "root")
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(each) or Path(each) in Path(source).parents for each in allowed), source


def test_the_entry_point_reads_secrets_from_their_files(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("a b$c\n")
    folder = {**os.environ, "SECRETS_FOLDER": str(tmp_path), "SSL_CERT_FILE": "/etc/hostname"}
    entry = [
        str(DOCKER / "lakehouse/entrypoint.sh"),
        "sh",
        "-c",
        'printf %s "$ONE_PASSWORD|${ONE_PASSWORD_FILE-gone}|$SSL_CERT_FILE"',
    ]
    done = subprocess.run(
        entry, env={**folder, "ONE_PASSWORD_FILE": str(secret)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "a b$c|gone|/etc/hostname"
    lost = subprocess.run(
        entry, env={**folder, "ONE_PASSWORD_FILE": f"{tmp_path}/none"}, capture_output=True, text=True, check=False
    )
    assert lost.returncode == 2
    assert f"ONE_PASSWORD_FILE names {tmp_path}/none" in lost.stderr
