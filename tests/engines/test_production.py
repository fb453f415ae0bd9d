"""The production picture's Dagster: on Postgres, three processes, behind a proxy that asks who one is.

Started with the files that docker/compose.yml mounts; the variables of these files lead to free ports of this machine.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from postgres_server import PostgresMissing, PostgresServer

from ad_lakehouse.defs.prepare import prepare
from ad_lakehouse.demo.broker import free_ports
from ad_lakehouse.demo.server_process import ServerProcess

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SERVICES = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
USER, PASSWORD = "dagster", "of the UI"
LAUNCH = """mutation($where: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $where, runConfigData: {}, mode: "default"}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status jobName } } }"
REPOSITORIES = (
    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } } }"
)
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"


@dataclass(frozen=True)
class Production:
    """What runs, and how it is reached from outside."""

    postgres: PostgresServer
    proxy: str
    lake: Path
    environment: dict[str, str]  # as compose.yml gives it: the secret is a file
    here: dict[str, str]  # ports of compose.yml, and programs of the image, on this machine

    def is_well(self, service: str, **changed: str) -> bool:
        """By the health check of compose.yml, which does not begin at the image's entry point."""
        _, *words = SERVICES[service]["healthcheck"]["test"]
        for there, here in self.here.items():
            words = [word.replace(there, here) for word in words]
        environment = {**os.environ, **self.environment, **changed}
        return subprocess.run(words, env=environment, capture_output=True, timeout=90).returncode == 0

    def ask(self, query: str, **variables: Any) -> Any:
        """GraphQL through the proxy, as the UI asks."""
        body = {"query": query, "variables": variables}
        answer = requests.post(f"{self.proxy}/graphql", json=body, auth=(USER, PASSWORD), timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


def filled(template: str, values: dict[str, str]) -> str:
    """As the image of the proxy fills in the variables that NGINX_ENVSUBST_FILTER names."""
    return re.sub(r"\$\{((?:PROXY|DAGSTER)_\w+)\}", lambda match: values[match[1]], template)


def started(command: list[str], name: str, folder: Path, answers: Callable[[], bool], stack: ExitStack) -> None:
    log = folder / f"{name}.log"
    process = ServerProcess(command, log, folder)
    stack.callback(process.end)
    assert process.waited_for(answers, 120), f"{name} did not start:\n{log.read_text()[-3000:]}"


def answers(url: str) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return requests.get(url, timeout=5).ok
        except requests.ConnectionError:
            return False

    return asked


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], None]) -> Iterator[Production]:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        unavailable("nginx is missing. On Debian and Ubuntu: apt-get install nginx-light")
        return
    folder = tmp_path_factory.mktemp("production")
    home, lake, drop = folder / "home", folder / "lake", folder / "drop"
    for each in (home, drop):
        each.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(DOCKER / "dagster" / name, home / name)
    code, webserver, port = free_ports(3)
    users = folder / "users"
    hashed = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True).stdout
    users.write_text(f"{USER}:{hashed}")
    prepare()
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(PostgresServer())
        except PostgresMissing as error:
            unavailable(str(error))
            return
        values = {
            "AD_LAKEHOUSE_LAKE": str(lake),
            "AD_LAKEHOUSE_DROP_FOLDER": str(drop),
            "DAGSTER_HOME": str(home),
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(postgres.port),
            "DAGSTER_POSTGRES_DB": "dagster",
            "DAGSTER_POSTGRES_USER": "dagster",
            "DAGSTER_POSTGRES_PASSWORD": postgres.passwords["dagster"],
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": str(code),
        }
        secret = folder / "dagster_postgres_password"
        secret.write_text(values["DAGSTER_POSTGRES_PASSWORD"])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            python, workspace = [sys.executable, "-m"], ["--workspace", str(home / "workspace.yaml")]
            served = [
                *python,
                "dagster",
                "api",
                "grpc",
                "--module-name",
                "ad_lakehouse.definitions",
                "--port",
                str(code),
            ]
            health = [*python, "dagster", "api", "grpc-health-check", "--port", str(code)]
            started(served, "code", folder, lambda: not subprocess.run(health, capture_output=True).returncode, stack)
            at = f"127.0.0.1:{webserver}"
            page = [*python, "dagster_webserver", "--host", "127.0.0.1", "--port", str(webserver), *workspace]
            started(page, "webserver", folder, answers(f"http://{at}/server_info"), stack)
            started([*python, "dagster._daemon", "run", *workspace], "daemon", folder, lambda: True, stack)
        proxy = {"PROXY_PORT": f"127.0.0.1:{port}", "PROXY_USERS_FILE": str(users), "DAGSTER_WEBSERVER": at}
        site = filled((DOCKER / "proxy/default.conf.template").read_text(), proxy)
        config = folder / "nginx.conf"
        config.write_text(
            f"user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;\n"
            f"events {{}}\nhttp {{ access_log off;\n{site}\n}}\n"
        )
        url = f"http://127.0.0.1:{port}"
        started([nginx, "-c", str(config)], "proxy", folder, answers(f"{url}/healthz"), stack)
        given = {name: value for name, value in values.items() if name != "DAGSTER_POSTGRES_PASSWORD"}
        given |= {"DAGSTER_POSTGRES_PASSWORD_FILE": str(secret), "SECRETS_FOLDER": str(folder)}
        given["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        here = {"4266": str(code), "3000": str(webserver), "entrypoint": str(DOCKER / "lakehouse/entrypoint.sh")}
        yield Production(postgres, url, lake, given, here)


def test_the_proxy_lets_only_those_in_who_have_a_password(production: Production) -> None:
    for auth in (None, (USER, "a wrong one"), ("another", PASSWORD)):
        refused = requests.post(f"{production.proxy}/graphql", json={"query": "{ version }"}, auth=auth, timeout=60)
        assert refused.status_code == 401
    page = requests.get(production.proxy, auth=(USER, PASSWORD), timeout=60)
    assert page.ok
    assert "Dagster" in page.text


def test_the_code_location_and_the_daemon_are_there(production: Production) -> None:
    (repository,) = production.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "ad_lakehouse"
    assert {"land", "build", "compact", "maintain"} <= {job["name"] for job in repository["jobs"]}, repository["jobs"]
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        daemons = production.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        if all(each["healthy"] for each in daemons if each["required"]):
            return
        time.sleep(1)
    pytest.fail(f"not healthy: {daemons}")


def test_health_checks_as_composed_tell_whether_dagsters_services_are_well(production: Production) -> None:
    for service in ("code-location", "webserver", "daemon"):
        assert production.is_well(service), service
    assert not production.is_well("daemon", DAGSTER_POSTGRES_DB="another"), "a health check that cannot fail"
    nobody = str(free_ports(1)[0])
    elsewhere = replace(production, here=production.here | {"4266": nobody, "3000": nobody})
    assert not any(elsewhere.is_well(service) for service in ("code-location", "webserver"))


def test_a_job_started_behind_the_proxy_runs_and_is_kept_on_postgres(production: Production) -> None:
    where = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "ad_lakehouse",
        "pipelineName": "maintain",
    }
    launched = production.ask(LAUNCH, where=where)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = launched["run"]["runId"]
    deadline = time.monotonic() + 180
    while (told := production.ask(STATUS, run=run)["runOrError"])["status"] not in ("SUCCESS", "FAILURE", "CANCELED"):
        assert time.monotonic() < deadline, told
        time.sleep(1)
    assert told == {"status": "SUCCESS", "jobName": "maintain"}
    assert production.postgres.query(f"select status from runs where run_id = '{run}'", "dagster") == "SUCCESS"


def test_each_user_of_postgres_has_a_database_of_its_own(production: Production) -> None:
    owners = (
        "select datname || ' ' || pg_get_userbyid(datdba) from pg_database where datname in ('dagster', 'metastore')"
    )
    assert production.postgres.query(owners).splitlines() == ["dagster dagster", "metastore metastore"]
    assert production.postgres.query("select count(*) from pg_user where usesuper") == "1"
