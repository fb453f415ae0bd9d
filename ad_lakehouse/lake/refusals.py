"""What a store says when it refuses, in one line for people, and what to do about it.

Belongs here: the words of delta-rs and obstore made short, and the error that they become. Not here: what waits and
tries again (kafka_sinks).

An object store's answer may repeat the request, with headers that hold a session's token: of an answer only its code
and message are told.
"""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError as StoreError

from ad_lakehouse.errors import LakehouseError

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ANSWER = re.compile(r"(<\?xml|<Error>).*", re.DOTALL)
REQUEST = "Error performing"  # in what both say of a request
SETTING = "AD_LAKEHOUSE_STORAGE_OPTIONS"
REMEDIES = (  # the first whose words are in what the store said
    (
        re.compile("NoSuchBucket"),
        f"Make the bucket, or correct its name and AWS_ENDPOINT_URL in {SETTING}.",
    ),
    (
        re.compile("SignatureDoesNotMatch|AccessKey|access key|Forbidden|Unauthorized"),
        f"Correct the key in {SETTING} (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or let it read and write there.",
    ),
    (re.compile("AuthorizationHeaderMalformed|PermanentRedirect"), f"Correct AWS_REGION in {SETTING}."),
    (
        re.compile("builder error|URL scheme is not allowed"),
        f"Set AWS_ALLOW_HTTP to true in {SETTING}, or give an https:// address.",
    ),
    (
        re.compile("error sending request|[cC]onnect|dns"),
        f"See whether the store runs, and correct AWS_ENDPOINT_URL in {SETTING}.",
    ),
)


class StoreRefused(LakehouseError):
    """The lake's object store cannot be reached, has no such bucket, or does not let us in."""

    exit_code = 38


@contextmanager
def refused(where: str) -> Iterator[None]:
    """What an object store refuses while it is entered, as `StoreRefused`."""
    try:
        yield
    except (OSError, StoreError) as error:
        raise StoreRefused(f"{where} cannot be opened: {causes(error)}.", remedy=remedy(error)) from None


def causes(error: Exception) -> str:
    """What a store says of itself, in one line: delta-rs draws each cause on a line of its own, obstore adds a dump."""
    told = COLOUR.sub("", str(error)).split("\n\n")[0]
    told = ANSWER.sub(code_and_message, told)
    return ": ".join(line for each in told.splitlines() if (line := each.strip(" \u21b3"))).rstrip(".")


def code_and_message(answer: re.Match[str]) -> str:
    found = (re.search(f"<{name}>([^<]*)", answer[0]) for name in ("Code", "Message"))
    return ": ".join(html.unescape(each[1]) for each in found if each) or "an answer without a code"


def remedy(error: Exception, otherwise: str = "") -> str:
    """What to do about it; `otherwise` when that cannot be told, as of a disk."""
    told = causes(error)
    fitting = [each for words, each in REMEDIES if words.search(told)] if REQUEST in told else []
    return fitting[0] if fitting else otherwise
