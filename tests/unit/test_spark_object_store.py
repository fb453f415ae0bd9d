"""One set of settings for an object store: what delta-rs is told, in the words of Spark's client."""

import os

import pytest

from ad_lakehouse.dbt_spark.object_store import LOG_STORE, SECRETS, s3a_settings
from ad_lakehouse.lake import Lake

PREFIX = "spark.hadoop.fs.s3a."


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {
                "AWS_ENDPOINT_URL": "http://store:7070",
                "AWS_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "lake",
                "AWS_SECRET_ACCESS_KEY": "s",
                "AWS_ALLOW_HTTP": "true",
            },
            {
                "endpoint": "http://store:7070",
                "endpoint.region": "eu-central-1",
                "access.key": "lake",
                "secret.key": "s",
                "path.style.access": "true",
            },
        ),
        (
            {
                "access_key_id": "lake",
                "secret_access_key": "s",
                "aws_token": "t",
                "default_region": "r",
                "region": "us-east-1",
            },
            {
                "access.key": "lake",
                "secret.key": "s",
                "session.token": "t",
                "endpoint.region": "us-east-1",
                "path.style.access": "true",
            },
        ),
        ({"aws_virtual_hosted_style_request": "True"}, {"path.style.access": "false"}),
        (
            {"AWS_SKIP_SIGNATURE": "true"},
            {
                "path.style.access": "true",
                "aws.credentials.provider": "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider",
            },
        ),
    ],
    ids=["keys", "session", "virtual-hosted", "unsigned"],
)
def test_storage_options_in_the_words_of_spark(options: dict[str, str], told: dict[str, str]) -> None:
    expected = {PREFIX + name: value for name, value in told.items()}
    assert s3a_settings(Lake("s3://bucket/lake", options)) == LOG_STORE | expected


def test_what_the_options_leave_out_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, f"{name} of the environment")
    told = s3a_settings(Lake("s3://bucket/lake", {"aws_region": "of the lake", "secret_access_key": "s"}))
    assert told == LOG_STORE | {
        f"{PREFIX}endpoint": "AWS_ENDPOINT_URL of the environment",
        f"{PREFIX}endpoint.region": "of the lake",
        f"{PREFIX}access.key": "AWS_ACCESS_KEY_ID of the environment",
        f"{PREFIX}secret.key": "s",
        f"{PREFIX}path.style.access": "true",
    }


def test_keys_are_among_the_secrets_and_addresses_are_not() -> None:
    options = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c", "AWS_REGION": "d"}
    told = s3a_settings(Lake("s3://bucket/lake", options))
    assert {value for name, value in told.items() if name in SECRETS} == {"a", "b", "c"}


@pytest.mark.parametrize("root", ["/srv/lake", "gs://bucket/lake", "az://bucket/lake"])
def test_another_kind_of_lake_is_not_told_of_s3(root: str) -> None:
    assert s3a_settings(Lake(root, {"AWS_REGION": "eu-central-1"})) == {}
