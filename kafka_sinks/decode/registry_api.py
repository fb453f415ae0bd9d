"""A schema registry with Confluent's API (Confluent, Apicurio, Karapace), asked over HTTP.

Belongs here: its URL, the password, attempts, what is an answer and what is none. Not here: writers' schemas by their
id (registry.py), subjects (kafka_sinks/schema_subjects.py).

A URL may hold a password, so errors show it without, and a URL that can't be taken apart is not shown at all.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from pydantic import SecretStr
from requests.auth import HTTPBasicAuth

from ad_lakehouse.errors import ConfigurationError, LakehouseError

TIMEOUT_SECONDS = 5.0
ATTEMPTS = 3
SETTING = "AD_LAKEHOUSE_KAFKA__SCHEMA_REGISTRY"
TOO_MANY = 429


class RegistryUnavailable(LakehouseError):
    """The schema registry does not answer, or none is set."""

    exit_code = 28


@dataclass(frozen=True)
class Answer:
    """What a registry said. `code` is its own error code, 0 when it did what it was asked; `message` goes with it."""

    body: Any
    code: int = 0
    message: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether what was asked for is not there: 40401 no subject, 40402 no version, 40403 no schema."""
        return self.code // 100 == 404


class RegistryApi:
    """A registry at a URL. `auth` is user:password; without it those of the URL are taken."""

    def __init__(self, url: str, auth: SecretStr | None = None, wait: Callable[[float], None] = time.sleep) -> None:
        """Raises `ConfigurationError` when the URL is none."""
        parts = _parts(url)
        userinfo, _, host = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")
        self._wait, self._session = wait, requests.Session()
        if auth is not None:
            user, _, password = auth.get_secret_value().partition(":")
            self._session.auth = _basic(user, password)
        elif userinfo:
            user, _, password = userinfo.partition(":")
            self._session.auth = _basic(unquote(user), unquote(password))

    def ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> Answer:
        """Raises `RegistryUnavailable` after some attempts, or at once when it refuses us or is no registry."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(0.2 * 4**attempt)
            try:
                response = self._session.request(method, self.url + path, json=body, timeout=TIMEOUT_SECONDS)
            except requests.RequestException as error:
                problem = type(error).__name__
                continue
            answer = _answer(response)
            if answer is not None:
                return answer
            problem = f"HTTP {response.status_code}"
            if response.ok or response.status_code == requests.codes.not_found:
                problem += ", but not as a schema registry answers; is the URL whole, with its path"
            if response.status_code < requests.codes.server_error and response.status_code != TOO_MANY:
                break
        raise self.unavailable(problem)

    def unavailable(self, problem: str) -> RegistryUnavailable:
        """The error for what hinders."""
        return RegistryUnavailable(
            f"Schema registry {self.url} can't be asked: {problem}.",
            remedy=f"Nothing was done of this step. Correct {SETTING} (password: {SETTING}_AUTH) or wait for it.",
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        whole = parts.hostname and parts.port != 0 and "@" not in url.partition(parts.netloc)[2]
    except ValueError:  # of a port that is no number
        whole = None
    if not whole:
        raise ConfigurationError(
            f"{SETTING} is no URL (it is not shown, it may hold a password).",
            remedy=f"Write http://host:port/path, and the password as user:password into {SETTING}_AUTH.",
        )
    return parts


def _basic(user: str, password: str) -> HTTPBasicAuth:
    return HTTPBasicAuth(user.encode(), password.encode())  # texts would be encoded as Latin-1, or not at all


def _answer(response: requests.Response) -> Answer | None:
    """The answer; None when it is none of a registry, or says only that it can't answer now or not to us."""
    try:
        body = response.json()
    except ValueError:
        return None
    if response.ok:
        return Answer(body)
    if not isinstance(body, dict) or not isinstance(body.get("error_code"), int):
        return None
    answer = Answer(body, body["error_code"], str(body.get("message", "")))
    # The code of what is absent has five digits; a server that knows no such path says 404, in its body too
    refused = response.status_code in (requests.codes.conflict, requests.codes.unprocessable)
    return answer if answer.is_absent or refused else None
