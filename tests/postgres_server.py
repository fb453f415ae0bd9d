"""A real PostgreSQL server for the tests, from the system's packages, with its data in a temporary folder.

Belongs here: finding, starting, ending it, running the production picture's own set-up script. Not here: who uses it.
PostgreSQL refuses to run as root, so root runs it as the user that the package made.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from ad_lakehouse.demo.broker import free_ports
from ad_lakehouse.demo.server_process import ServerProcess, last_line

SET_UP = Path(__file__).parents[1] / "docker/postgres/databases.sh"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresMissing(Exception):
    """PostgreSQL can't be had on this machine."""


def program(name: str) -> str:
    """Raises `PostgresMissing`."""
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(PROGRAMS)), os.environ.get("PATH", "")]))
    if found is None:
        raise PostgresMissing(f"PostgreSQL's {name} is missing. On Debian and Ubuntu: apt-get install postgresql")
    return found


def as_server_user(command: list[str]) -> list[str]:
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command] if os.getuid() == 0 else command
    )


class PostgresServer:
    """A server as a context manager, with the databases of the production picture. `passwords` by user."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.passwords = {"dagster": "of-dagster'", "metastore": "of the metastore"}
        self._folder = Path(tempfile.mkdtemp(prefix="ad-lakehouse-postgres-"))
        self._running: ServerProcess | None = None

    def __enter__(self) -> Self:
        try:
            initdb, server = program("initdb"), program("postgres")
            data = self._folder / "data"
            if os.getuid() == 0:
                shutil.chown(self._folder, "postgres", "postgres")
            made = self._run(as_server_user([initdb, "--pgdata", str(data), "--auth=trust", "--username=postgres"]))
            if made.returncode:
                raise PostgresMissing(f"PostgreSQL's initdb failed: {last_line(made.stderr)}")
            own = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder)]
            # Only who has a password gets in by the network
            rules = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            (data / "pg_hba.conf").write_text(rules)
            command = as_server_user([server, "-D", str(data), *own])
            self._running = ServerProcess(command, self._folder / "server.log", self._folder)
            if not self._running.waited_for(self._answers, 60):
                raise PostgresMissing(f"PostgreSQL did not start: {last_line(self.log)}")
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")

    def query(self, sql: str, database: str = "postgres") -> str:
        """What psql prints of a query, as the superuser."""
        by_socket = ["-h", str(self._folder), "-p", str(self.port), "-U", "postgres", "-d", database]
        done = self._run([program("psql"), *by_socket, "-AtXc", sql])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _answers(self) -> bool:
        ready = [program("pg_isready"), "-h", str(self._folder), "-p", str(self.port), "-q"]
        return self._run(ready).returncode == 0

    def _set_up(self) -> None:
        """By the same script as the image."""
        variables = {}
        for name, variable in {
            "dagster": "DAGSTER_POSTGRES_PASSWORD_FILE",
            "metastore": "METASTORE_PASSWORD_FILE",
        }.items():
            file = self._folder / f"{name}_password"
            file.write_text(self.passwords[name])
            variables[variable] = str(file)
        place = {"PGHOST": str(self._folder), "PGPORT": str(self.port), "POSTGRES_USER": "postgres"}
        path = {"PATH": f"{Path(program('psql')).parent}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(["sh", str(SET_UP)], env=os.environ | variables | place | path, check=True, capture_output=True)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
