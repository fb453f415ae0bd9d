"""What is registered, and what Trino's client makes of answers that a healthy Trino does not give."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import TrinoSettings
from ad_lakehouse.warehouse.catalog import Place, Unread
from ad_lakehouse.warehouse.register import Step, register, steps
from ad_lakehouse.warehouse.trino import CatalogUnfit, Trino, TrinoError, TrinoUnreachable

ROOT = "file:///lake"
DAILY = TableName("marts", "daily")
HERE = f"{ROOT}/marts/daily"
AWAY = Unread("Trino: the store is away")
DONE = {"id": "q1", "columns": [{"name": "one", "type": "integer"}], "data": [[1]]}


@pytest.mark.parametrize(
    ("wanted", "found", "step"),
    [
        (HERE, "not in the catalog", Step.REGISTERED),
        (HERE, HERE, Step.UNCHANGED),
        (HERE, "file:///elsewhere/marts/daily", Step.MOVED),
        (HERE, None, Step.MOVED),
        (None, HERE, Step.UNREGISTERED),
        (None, None, Step.UNREGISTERED),
        (None, "file:///elsewhere/marts/daily", Step.FOREIGN),
        (None, "file:///lake2/marts/daily", Step.FOREIGN),
        (HERE, AWAY, Step.UNREAD),
        (None, AWAY, Step.UNREAD),
    ],
)
def test_what_becomes_of_a_table(wanted: str | None, found: Place, step: Step) -> None:
    (made,) = steps({DAILY: wanted} if wanted else {}, {} if found == "not in the catalog" else {DAILY: found}, ROOT)
    assert made.step is step
    assert made.location == wanted
    assert made.before == (None if found in ("not in the catalog", AWAY) else found)
    assert made.error == (AWAY.why if found is AWAY else "")


@contextmanager
def server(*answers: tuple[int, Any]) -> Iterator[tuple[int, list[str]]]:
    """A server that gives these answers one after the other, then the last one again; and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path}")
            status, body = answers[min(len(asked), len(answers)) - 1]
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.replace("PORT", str(self.server.server_address[1])).encode())

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield running.server_address[1], asked
    finally:
        running.shutdown()
        running.server_close()


def test_a_result_is_followed_to_its_end_and_one_that_is_busy_is_asked_again() -> None:
    first = {"id": "q1", "nextUri": "http://127.0.0.1:PORT/next"}
    more = {**DONE, "nextUri": "http://127.0.0.1:PORT/more"}
    with server((200, first), (503, "busy"), (200, more), (200, DONE)) as (port, asked):
        assert Trino("127.0.0.1", port, "me").query("select 1").rows == ((1,), (1,))
    assert asked == ["POST /v1/statement", "GET /next", "GET /next", "GET /more"]


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ((401, "no"), TrinoUnreachable, "does not let us in (HTTP 401)"),
        ((200, "<html>a proxy</html>"), TrinoUnreachable, "is no Trino"),
        ((200, {"hello": "world"}), TrinoUnreachable, "is no Trino"),
        ((302, ""), TrinoUnreachable, "is no Trino"),
        ((503, "busy"), TrinoUnreachable, "not ready (HTTP 503)"),
        ((200, {"id": "1", "error": {"errorName": "SERVER_STARTING_UP"}}), TrinoUnreachable, "still starting"),
        ((200, {"id": "1", "error": {"errorName": "CATALOG_NOT_FOUND", "message": "m"}}), CatalogUnfit, "__CATALOG"),
        (
            (200, {"id": "1", "error": {"errorName": "X", "message": "register_table procedure is disabled"}}),
            CatalogUnfit,
            "delta.register-table-procedure.enabled=true",
        ),
        ((200, {"id": "1", "error": {"errorName": "SYNTAX_ERROR", "message": "m"}}), TrinoError, "m (SYNTAX_ERROR)"),
    ],
)
def test_an_answer_that_is_none_says_what_to_correct(
    answer: tuple[int, Any], kind: type[TrinoError], told: str
) -> None:
    with server(answer) as (port, _), pytest.raises(kind) as caught:
        Trino("127.0.0.1", port, "me", timeout=0.3).query("select 1")
    assert type(caught.value) is kind
    assert told in str(caught.value)


def test_a_password_is_not_sent_in_clear() -> None:
    with pytest.raises(ValueError, match="HTTPS") as caught:
        TrinoSettings(host="trino", password="a secret")  # noqa: S106
    assert "a secret" not in str(caught.value)
    assert TrinoSettings(host="trino", password="a secret", https=True).password  # noqa: S106


def test_a_lake_that_is_not_there_empties_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there"):
        register(Lake(str(tmp_path / "unmounted")), TrinoSettings(host="trino"))
