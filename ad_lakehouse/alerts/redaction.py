"""Keeping secrets out of texts and logs.

Belongs here: finding and hiding the parts of tokens and addresses that must not be seen. Not here: sending.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

HIDDEN = "[hidden]"
SHORTEST = 4  # of user names and passwords; anything shorter occurs in any text
TELLING_NAME = re.compile("key|token|secret|pass|sig|auth|code", re.IGNORECASE)
# These log addresses at DEBUG level; a logger's filter sees only its own records, so each is named.
TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection", "urllib3.poolmanager", "apprise")


class Redactor:
    """Hides the given secrets, and the telling parts of those that are addresses."""

    def __init__(self, secrets: Iterable[SecretStr | str | None]) -> None:
        parts: set[str] = set()
        for secret in secrets:
            plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
            if plain:
                parts |= _parts(plain)
        self._parts = sorted(parts, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for part in self._parts:
            text = text.replace(part, HIDDEN)
        return text

    @contextmanager
    def over_logs(self) -> Iterator[None]:
        """While open, what the HTTP libraries log has its secrets hidden."""

        def redact(record: logging.LogRecord) -> bool:
            record.msg, record.args = self(record.getMessage()), ()
            record.exc_info = record.exc_text = None  # a traceback repeats the address
            return True

        loggers = [logging.getLogger(name) for name in TALKATIVE]
        for logger in loggers:
            logger.addFilter(redact)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(redact)


def _parts(secret: str) -> set[str]:
    found = {secret}
    if "://" in secret:
        try:
            address = urlsplit(secret)
        except ValueError:
            return found
        found |= {each for each in (address.username, address.password) if each and len(each) >= SHORTEST}
        words = [*address.path.split("/"), *(value for _, _, value in _pairs(address.query))]
        host = address.netloc.rpartition("@")[2]
        words += [host] if "." not in host else []  # apprise addresses keep tokens where the host would be
        telling = {each for each in words if _is_telling(each)}
        telling |= {value for name, _, value in _pairs(address.query) if value and TELLING_NAME.search(name)}
        found |= telling
    return found | {quote(each, safe="") for each in found} | {unquote(each) for each in found}


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [pair.partition("=") for pair in query.split("&")]


def _is_telling(word: str) -> bool:
    """Long or with digits, so rather a token than a word of the address such as `services`."""
    return len(word) >= 16 or (len(word) >= 8 and any(each.isdigit() for each in word))
