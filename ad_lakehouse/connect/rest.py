"""A worker of Kafka Connect, asked over its REST interface.

Belongs here: its URL, the password, attempts, what is an answer. Not here: what is asked for (apply.py, states.py).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from ad_lakehouse.errors import ConfigurationError, LakehouseError
from ad_lakehouse.settings import PREFIX, ConnectSettings

TIMEOUT_SECONDS = 30.0  # while a worker starts or stops tasks it answers nobody, which takes seconds
WAITS = (0.5, 1.0, 2.0, 4.0)  # between attempts, in seconds; a rebalance of the workers is over by then
PASSING = {requests.codes.conflict, requests.codes.too_many}  # 409: the workers divide their work anew
SETTING = f"{PREFIX}CONNECT__URL"


class ConnectUnreachable(LakehouseError):
    """No worker of Kafka Connect answers at the URL, or it refuses us."""

    exit_code = 45


@dataclass(frozen=True)
class Answer:
    """What a worker said; `absent` when there is no such connector, `refusal` when it will not have what was sent."""

    body: Any
    absent: bool = False
    refusal: str = ""


class ConnectApi:
    """The workers of one group; each answers for all. `timeout`: seconds for one of the `attempts`, at most 5."""

    def __init__(
        self,
        settings: ConnectSettings,
        wait: Callable[[float], None] = time.sleep,
        *,
        attempts: int = 1 + len(WAITS),
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Raises `ConfigurationError` when no URL is set."""
        if not settings.url:
            raise ConfigurationError(
                f"{SETTING} is not set.", remedy="Set it to a worker of Kafka Connect: http://host:8083"
            )
        self.url = settings.url.rstrip("/")
        self._wait, self._attempts, self._timeout = wait, attempts, timeout
        self._session = requests.Session()
        if settings.auth is not None:
            user, _, password = settings.auth.get_secret_value().partition(":")
            self._session.auth = HTTPBasicAuth(user.encode(), password.encode())

    def ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> Answer:
        """Raises `ConnectUnreachable` when after all attempts there is no answer, or at once when we are refused."""
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._wait(WAITS[attempt - 1])
            try:
                response = self._session.request(method, self.url + path, json=body, timeout=self._timeout)
            except requests.RequestException as error:
                problem = type(error).__name__
                continue
            answer = _answer(response)
            if answer is not None:
                return answer
            problem = f"HTTP {response.status_code}{_said(response)}"
            if response.status_code < requests.codes.server_error and response.status_code not in PASSING:
                break
        raise ConnectUnreachable(
            f"Kafka Connect at {self.url} can't be asked: {problem}.",
            remedy=f"Start its worker (docs/kafka-connect.md), or correct {SETTING}; password: {PREFIX}CONNECT__AUTH.",
        )


def connector_path(name: str, rest: str = "") -> str:
    """The path of one connector, whatever its name is made of."""
    return f"/connectors/{quote(name, safe='')}{rest}"


def _answer(response: requests.Response) -> Answer | None:
    """The answer; None when it is none of a worker, or says only that it can't answer now or not to us."""
    try:
        body = response.json() if response.content else None
    except ValueError:
        return None
    if response.ok:
        return Answer(body)
    if not isinstance(body, dict) or "error_code" not in body:
        return None
    if response.status_code == requests.codes.not_found:
        return Answer(body, absent=True)
    if response.status_code in (requests.codes.bad_request, requests.codes.unprocessable):
        return Answer(body, refusal=str(body.get("message", "")))
    return None


def _said(response: requests.Response) -> str:
    """The worker's own words about its refusal to answer now."""
    try:
        body = response.json()
    except ValueError:
        return ", and not as a worker of Kafka Connect answers; is the URL whole"
    message = body.get("message") if isinstance(body, dict) else None
    return f", {str(message).splitlines()[0].rstrip('.')}" if message else ""
