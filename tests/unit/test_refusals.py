"""What a store's refusal becomes: one line, the store's own words, no part of the request, what to do."""

import pytest

from ad_lakehouse.lake.refusals import causes, remedy

AMAZON = """Generic S3 error: Error performing list request: Error performing GET https://s3.example/lake in 2ms \
- Server returned non-2xx status code: 403 Forbidden: <?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match &#34;yours&#34;.</Message>\
<CanonicalRequest>GET
/lake

x-amz-security-token:FwoGZXIvYXdzE-the-token-of-a-session
</CanonicalRequest></Error>

Debug source:
Generic {"""
DELTA_RS = (
    "Kernel error -> Generic S3 error\n"
    "          \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:1/lake/x in 2s\n"
    "           \x1b[31m↳\x1b[0m HTTP error\n            \x1b[31m↳\x1b[0m error sending request\n"
)


def test_an_answer_is_told_by_its_code_and_message_without_the_request_it_repeats() -> None:
    told = causes(OSError(AMAZON))
    assert told.endswith('403 Forbidden: SignatureDoesNotMatch: The signature does not match "yours"')
    assert "\n" not in told
    assert "token" not in told
    assert "AWS_SECRET_ACCESS_KEY" in remedy(OSError(AMAZON))


def test_causes_that_are_drawn_below_each_other_become_one_line() -> None:
    told = causes(OSError(DELTA_RS))
    assert told == (
        "Kernel error -> Generic S3 error: Error performing GET http://127.0.0.1:1/lake/x in 2s: HTTP error: "
        "error sending request"
    )
    assert remedy(OSError(DELTA_RS)).startswith("See whether the store runs")


@pytest.mark.parametrize("told", ["No space left on device", "Permission denied: Forbidden", "connection reset"])
def test_a_disk_is_not_told_what_to_do_about_an_object_store(told: str) -> None:
    assert remedy(OSError(told), "Make room.") == "Make room."
