"""One HTTP request and what its answer means for a delivery.

Belongs here: sending with limits, sorting failures into "again later" and "never". Not here: what is sent.
No text made here holds the address or the body sent; what a server answers is redacted.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.redaction import Redactor
from ad_lakehouse.alerts.wording import shortened

LARGEST_ANSWER = 64 << 10
SHOWN_OF_ANSWER = 200
PASSING = {408, 425, 429}  # client errors that are over by themselves


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    text: str
    retry_after: timedelta | None


class Bearer(requests.auth.AuthBase):
    """A token header; given as `auth` so that a .netrc entry for the host does not replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _NoAuth(requests.auth.AuthBase):
    """Sends no credentials, whatever .netrc holds."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@dataclass(frozen=True)
class Http:
    """How requests are made: how long to wait and what to hide."""

    timeout: float
    redact: Redactor

    def send(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        auth: requests.auth.AuthBase | None = None,
    ) -> Answer | Outcome:
        """The answer, or the outcome when there is none."""
        try:
            with requests.request(
                method, url, json=json, headers=headers, auth=auth or _NoAuth(), timeout=self.timeout,
                allow_redirects=False, stream=True,
            ) as response:  # fmt: skip
                return Answer(response.status_code, self._read(response), _retry_after(response))
        except requests.exceptions.Timeout:
            return unreachable(f"no answer within {self.timeout:g} s")
        except requests.exceptions.SSLError:
            return unreachable("the TLS certificate was not accepted")
        except requests.exceptions.ProxyError:
            return unreachable("the proxy did not pass it on")
        except requests.exceptions.ConnectionError as error:
            return unreachable("no answer in time" if "timed out" in str(error).lower() else "could not connect")
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            return Outcome("failed", "the address is not valid")
        except (requests.exceptions.RequestException, OSError) as error:
            return unreachable(f"the connection broke ({type(error).__name__})")

    def _read(self, response: requests.Response) -> str:
        """The body, cut at a limit: a server that dribbles must not hold up the other channels."""
        end = time.monotonic() + self.timeout
        body = b""
        for chunk in response.iter_content(4096):
            body += chunk
            if len(body) > LARGEST_ANSWER or time.monotonic() > end:
                break
        return body[:LARGEST_ANSWER].decode("utf-8", "replace")

    def outcome(self, answer: Answer | Outcome) -> Outcome:
        """2xx is delivered; 5xx and the passing client errors are tried again; the rest is final."""
        if isinstance(answer, Outcome):
            return answer
        if 200 <= answer.status < 300:
            return Outcome("delivered")
        # Redacted before it is cut: half a token would not be recognised.
        said = shortened(" ".join(self.redact(answer.text).split()), SHOWN_OF_ANSWER)
        error = f"HTTP {answer.status}" + (f": {said}" if said else "")
        if answer.status in PASSING or answer.status >= 500:
            # 503 with Retry-After is the server's word on itself, other 5xx may be about this message.
            own = answer.status == 429 or answer.retry_after is not None
            return Outcome("retry", error, retry_after=answer.retry_after, holds_channel=own)
        if 300 <= answer.status < 400:
            error += " (redirects are not followed; set the final address)"
        return Outcome("failed", error)


def unreachable(error: str) -> Outcome:
    """A failure of the channel as a whole."""
    return Outcome("retry", error, holds_channel=True)


def _retry_after(response: requests.Response) -> timedelta | None:
    """`Retry-After` in seconds or as a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit() and len(value) < 10:
        return timedelta(seconds=int(value))
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(timedelta(0), until - datetime.now(UTC))
