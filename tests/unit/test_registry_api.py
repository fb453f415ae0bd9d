"""Where schemas are read from, passwords that are not shown, answers that are none.

Not here: a real registry (tests/integration/test_schema_registry.py), decoding.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import KafkaSettings, load_settings
from kafka_sinks.decode.registry import FolderRegistry, HttpRegistry, open_registry
from kafka_sinks.decode.registry_api import RegistryApi, RegistryUnavailable


class Says(BaseHTTPRequestHandler):
    """Answers each request with what the test set."""

    status, body = 200, b""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as running:
        running.asked = []  # type: ignore[attr-defined]
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def patient(server: Any) -> HttpRegistry:
    return HttpRegistry(f"http://127.0.0.1:{server.server_address[1]}", wait=lambda seconds: None)


@pytest.mark.parametrize(
    "location", ["mock://test", "MOCK://test", "s3://bucket/schemas", "htp://registry:8081", "://x"]
)
def test_only_registries_and_folders_are_read(location: str) -> None:
    with pytest.raises(ConfigurationError, match="http:// or https://, or a folder"):
        open_registry(location)


@pytest.mark.parametrize("location", ["file:///schemas/here", "/schemas/here", "schemas", "HTTP://registry:8081"])
def test_folders_and_urls_are_taken(location: str) -> None:
    found = open_registry(location)
    assert isinstance(found, HttpRegistry if "HTTP" in location else FolderRegistry)
    if isinstance(found, FolderRegistry):
        assert str(found.folder) == location.removeprefix("file://")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://:8081",
        "http://lake:s3cret/more@registry:8081",
        "http://lake:12/s3cret@registry",
        "http://lake:#s3cret@registry",
        "http://lake:?s3cret@registry",
        "http://registry:s3cret",
        "http://[s3cret",
    ],
)
def test_a_url_that_cannot_be_taken_apart_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_registry(url)
    assert "is no URL" in caught.value.message
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("userinfo", "auth", "sent"),
    [
        ("", None, None),
        ("lake:s3cret@", None, "Basic bGFrZTpzM2NyZXQ="),
        ("lake:s%3A3@", None, "Basic bGFrZTpzOjM="),
        ("other:wrong@", "lake:s3cret", "Basic bGFrZTpzM2NyZXQ="),
        ("", "lake:s:3", "Basic bGFrZTpzOjM="),
        ("", "lake:пароль", "Basic bGFrZTrQv9Cw0YDQvtC70Yw="),
    ],
)
def test_the_password_goes_to_the_registry_and_into_no_error(
    server: Any, monkeypatch: pytest.MonkeyPatch, userinfo: str, auth: str | None, sent: str | None
) -> None:
    monkeypatch.setattr(Says, "status", 403)
    url = f"http://{userinfo}127.0.0.1:{server.server_address[1]}/api/?q=s3cret"
    api = RegistryApi(url, None if auth is None else SecretStr(auth))
    with pytest.raises(RegistryUnavailable) as caught:
        api.ask("/subjects")
    assert server.asked == [("/api/subjects", sent)], "a refusal is not asked again"
    assert f"http://127.0.0.1:{server.server_address[1]}/api can't be asked: HTTP 403" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("s3cret", "wrong", "s:3", "пароль", "other"))


def test_a_password_without_user_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaSettings.model_validate({"schema_registry_auth": "s3cret"})
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY_AUTH", "s3cret")
    with pytest.raises(ConfigurationError, match="must be user:password") as told:
        load_settings()
    assert "s3cret" not in str(told.value)
    monkeypatch.setenv("AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY_AUTH", "lake:s3cret")
    assert "s3cret" not in repr(load_settings())


@pytest.mark.parametrize(
    ("status", "body", "absent"),
    [
        (404, {"error_code": 40403, "message": "Schema not found"}, True),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, False),  # Confluent, of a path it does not have
        (404, {"status": 404, "title": "Not Found"}, False),
        (404, "<html>", False),
        (404, ["40403"], False),
        (200, "<html>log in</html>", False),
        (200, {"schema": None}, False),
        (200, ["schema"], False),
        (400, {"error_code": 400}, False),
        (503, {"error_code": 50302}, False),
        (429, {"error_code": 42901}, False),
    ],
)
def test_a_record_is_rejected_only_when_the_registry_itself_does_not_know_the_id(
    server: Any, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, absent: bool
) -> None:
    monkeypatch.setattr(Says, "status", status)
    monkeypatch.setattr(Says, "body", body.encode() if isinstance(body, str) else json.dumps(body).encode())
    if absent:
        assert patient(server).schema(7) is None
        return
    with pytest.raises(RegistryUnavailable):
        patient(server).schema(7)
    assert len(server.asked) == (3 if status in (429, 503) else 1)


def test_ids_that_no_registry_gives_are_not_asked_for(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Says, "status", 404)
    monkeypatch.setattr(Says, "body", json.dumps({"error_code": 404, "message": "HTTP 404 Not Found"}).encode())
    assert patient(server).schema(2**31) is None
    assert patient(server).schema(2**32 - 1) is None
    assert server.asked == []
