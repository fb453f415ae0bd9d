"""A client of Trino, as small as registering tables needs: one statement in, all of its rows out.

Belongs here: Trino's HTTP protocol (https://trino.io/docs/current/develop/client-protocol.html), its errors as ours.
Not here: which statements. Programs that query Trino have better clients (docs/query-engines.md).
"""

import time
from dataclasses import dataclass
from typing import Any, Self

import requests

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.settings import TrinoSettings

SOURCE = "ad-lakehouse"  # by which Trino's own UI and logs tell our statements
BUSY = {429, 502, 503, 504}  # the protocol: ask again after 50 to 100 ms
UNFIT = ("register_table procedure is disabled", "does not support creating schemas")
MISSING = {"CATALOG_NOT_FOUND", "MISSING_CATALOG_NAME"}


class TrinoError(LakehouseError):
    """Trino refused a statement. `name` is its error's name, as TABLE_NOT_FOUND."""

    def __init__(self, message: str, *, remedy: str = "", name: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.name = name


class TrinoUnreachable(TrinoError):
    """No Trino answers, or it does not let us in."""

    exit_code = 42


class CatalogUnfit(TrinoError):
    """The catalog is not there, or is none that tables of Delta can be registered in."""

    exit_code = 43


@dataclass(frozen=True)
class Result:
    """Columns as (name, Trino's type), rows as JSON gives them: decimals, dates and times are text."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]


class Trino:
    """A coordinator. Names without a catalog are of `catalog`.

    `timeout` in seconds bounds each request, and how long one that is too busy is asked again.
    """

    def __init__(
        self, host: str, port: int, user: str, *, password: str | None = None, https: bool = False,
        verify: bool | str = True, timeout: float = 60, catalog: str = "",
    ) -> None:  # fmt: skip
        self.url = f"{'https' if https else 'http'}://{host}:{port}"
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # a .netrc must not choose the user
        self._session.verify = verify
        # Rows of values, not files of them (the spooled protocol), and times in UTC
        self._session.headers.update({"X-Trino-User": user, "X-Trino-Source": SOURCE, "X-Trino-Time-Zone": "UTC"})
        if catalog:
            self._session.headers["X-Trino-Catalog"] = catalog
        if password is not None:
            self._session.auth = (user, password)

    @classmethod
    def of(cls, settings: TrinoSettings) -> Self:
        """Raises `ConfigurationError` when no host is set."""
        if not settings.host:
            raise ConfigurationError(
                "No Trino is set.",
                remedy="Set AD_LAKEHOUSE_TRINO__HOST to its coordinator; docs/query-engines.md shows the rest.",
            )
        password = settings.password.get_secret_value() if settings.password else None
        verify = str(settings.ca_file) if settings.ca_file else True
        return cls(settings.host, settings.port, settings.user, password=password, https=settings.https, verify=verify)

    def rows(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        """All rows of one statement. Raises `TrinoError`."""
        return self.query(sql).rows

    def query(self, sql: str) -> Result:
        """Runs one statement to its end. Raises `TrinoError`, `TrinoUnreachable`, `CatalogUnfit`."""
        answer = self._asked("POST", f"{self.url}/v1/statement", sql)
        columns: tuple[tuple[str, str], ...] = ()
        rows: list[tuple[Any, ...]] = []
        while True:
            if error := answer.get("error"):
                raise refusal(error)
            if "columns" in answer:
                columns = tuple((each["name"], each["type"]) for each in answer["columns"])
            rows += [tuple(row) for row in answer.get("data") or ()]
            if "nextUri" not in answer:
                return Result(columns, tuple(rows))
            answer = self._asked("GET", answer["nextUri"])

    def _asked(self, method: str, url: str, body: str | None = None) -> dict[str, Any]:
        """One answer of the protocol. Raises `TrinoUnreachable`."""
        deadline = time.monotonic() + self._timeout
        try:
            while True:
                got = self._session.request(
                    method, url, data=None if body is None else body.encode(), timeout=self._timeout,
                    allow_redirects=False,
                )  # fmt: skip
                if got.status_code not in BUSY or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            if got.status_code in (401, 403):
                raise TrinoUnreachable(
                    f"Trino at {self.url} does not let us in (HTTP {got.status_code}).",
                    remedy="Correct AD_LAKEHOUSE_TRINO__USER and AD_LAKEHOUSE_TRINO__PASSWORD.",
                )
            answer = got.json() if got.ok else None
        except requests.JSONDecodeError:
            answer = None
        except requests.RequestException as error:
            raise TrinoUnreachable(
                f"No Trino answers at {self.url} ({type(error).__name__}).",
                remedy="Start it, or correct AD_LAKEHOUSE_TRINO__HOST, __PORT and __HTTPS.",
            ) from None
        if not isinstance(answer, dict) or "id" not in answer:
            raise TrinoUnreachable(
                f"What answers at {self.url} is no Trino, or one that is not ready (HTTP {got.status_code}).",
                remedy="Correct AD_LAKEHOUSE_TRINO__HOST, __PORT and __HTTPS, or wait until it has started.",
            )
        return answer


def refusal(error: dict[str, Any]) -> TrinoError:
    """What Trino says of a statement that failed, as our error."""
    name, message = error.get("errorName", ""), str(error.get("message", "")).strip()
    if name == "SERVER_STARTING_UP":
        return TrinoUnreachable("Trino is still starting.", remedy="Wait until it has started.", name=name)
    if name in MISSING:
        return CatalogUnfit(
            f"Trino: {message}", remedy="Correct AD_LAKEHOUSE_TRINO__CATALOG, or give Trino that catalog.", name=name
        )
    if name == "PROCEDURE_NOT_FOUND" or any(each in message for each in UNFIT):
        return CatalogUnfit(
            f"Trino: {message}",
            remedy="The catalog must be one of the Delta Lake connector, with "
            "delta.register-table-procedure.enabled=true.",
            name=name,
        )
    return TrinoError(f"Trino: {message} ({name})", name=name)


def quoted(identifier: str) -> str:
    """A quoted identifier of Trino."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal of Trino."""
    return "'" + text.replace("'", "''") + "'"
