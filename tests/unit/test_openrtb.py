"""OpenRTB requests that no one here wrote, through the mapping that docs/your-own-data.md gives for them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from decoding import MICROS, rows_of, with_fields

from kafka_sinks.sources import Source

DOCS = Path(__file__).parents[2] / "docs" / "your-own-data.md"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Bid requests as the documentation maps them."""
    found = re.search(r"```yaml\n(# /etc/ad-lakehouse/sources/bid_requests\.yml\n.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    return with_fields(tmp_path, "bid_requests", found[1])


def requests(shared_data: Path, kind: str) -> dict[str, Any]:
    """Request by file name: what `mockBidRequest` holds, else the whole text."""
    files = sorted((shared_data / "openrtb" / kind).glob("*.json"))
    texts = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return {name: text["mockBidRequest"] if isinstance(text, dict) and "mockBidRequest" in text else text
            for name, text in texts.items()}  # fmt: skip


def logged(request: Any) -> bytes:
    """The line a bidder writes around a request."""
    return json.dumps({"at": MICROS, "uid": "u-1", "matched": ["geo=US"], "request": request}).encode()


def at(request: Any, *path: str) -> Any:
    for key in path:
        request = request.get(key) if isinstance(request, Mapping) else None
    return request


def test_all_valid_requests_are_accepted_with_their_fields(source: Source, shared_data: Path) -> None:
    valid = requests(shared_data, "valid")
    assert len(valid) == 49
    rows = rows_of(source, [logged(request) for request in valid.values()])
    for (name, request), row in zip(valid.items(), rows, strict=True):
        assert row["_reason"] is None, (name, row["_error"])
        assert (row["auction_id"], row["user_id"], row["targeting"]) == (request["id"], "u-1", ["geo=US"]), name
        assert row["site"] == at(request, "site", "domain"), name
        assert (row["ip"], row["user_agent"]) == (at(request, "device", "ip"), at(request, "device", "ua")), name
        assert row["consent"] == at(request, "user", "ext", "consent"), name
        assert json.loads(row["_rescued"])["request"] == request, name
    # Of the samples none names a domain: they have the page
    read = {field for row in rows for field in ("site", "ip", "user_agent", "consent") if row[field] is not None}
    assert read == {"ip", "user_agent", "consent"}


def test_the_domain_and_the_country_of_a_request_are_read(source: Source) -> None:
    (row,) = rows_of(
        source, [logged({"id": "a", "site": {"domain": "a.example"}, "device": {"geo": {"country": "USA"}}})]
    )
    assert (row["_reason"], row["site"], row["country"], row["_rescued"]) == (None, "a.example", "USA", None)


def test_of_invalid_requests_none_is_lost(source: Source, shared_data: Path) -> None:
    invalid = requests(shared_data, "invalid")
    assert len(invalid) == 76
    rows = rows_of(source, [logged(request) for request in invalid.values()])
    for (name, request), row in zip(invalid.items(), rows, strict=True):
        known = isinstance(at(request, "id"), str) and bool(request["id"])
        assert known or row["_reason"] == "missing_field", (name, row["_error"])
        assert row["_reason"] is None or row["_error"], name
    assert {"missing_field", None} <= {row["_reason"] for row in rows}


def test_requests_without_the_line_around_them_are_rejected_with_what_is_missing(
    source: Source, shared_data: Path
) -> None:
    bare = [json.dumps(request).encode() for request in requests(shared_data, "valid").values()]
    rows = rows_of(source, bare)
    assert {row["_reason"] for row in rows} == {"missing_field"}
    assert {row["_error"] for row in rows} == {"missing: event_ts, user_id, auction_id, targeting"}
