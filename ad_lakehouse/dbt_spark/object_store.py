"""A lake's object store as Spark reaches it: Hadoop's S3A client, told what `storage_options` tell delta-rs.

Belongs here: one set of settings in Hadoop's words. Not here: which jars that needs (artefacts.py), who may write
(ad_lakehouse/lake/writer.py).
"""

import os
from collections.abc import Mapping

from ad_lakehouse.lake.tables import Lake

S3A = "spark.hadoop.fs.s3a."
# By what delta-rs and obstore call it, with or without `aws_`, in small letters, the first that is given:
# https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html
TOLD: Mapping[str, tuple[str, ...]] = {
    "endpoint": ("endpoint", "endpoint_url", "endpoint_url_s3"),
    "endpoint.region": ("region", "default_region"),
    "access.key": ("access_key_id",),
    "secret.key": ("secret_access_key",),
    "session.token": ("session_token", "token"),
}
LOG_STORE: Mapping[str, str] = {"spark.delta.logStore.s3a.impl": "adlakehouse.ConditionalPutLogStore"}
SECRETS = frozenset(S3A + name for name in ("access.key", "secret.key", "session.token"))


def is_s3(lake: Lake) -> bool:
    """Whether Spark needs a client of S3 for the lake."""
    return lake.root.startswith(("s3://", "s3a://"))


def s3a_settings(lake: Lake) -> dict[str, str]:
    """The lake's storage options as settings of Spark, `SECRETS` among them, and who puts Delta's log there.

    Nothing for another kind of lake. What they leave out is taken from the environment (`AWS_…`), as
    delta-rs does; keys then of the machine's role.
    """
    if not is_s3(lake):
        return {}
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    options = {
        name.lower().removeprefix("aws_"): value
        for each in (given, lake.storage_options)
        for name, value in each.items()
    }
    found = {S3A + name: options[each] for name, names in TOLD.items() for each in reversed(names) if each in options}
    # As delta-rs does: the bucket in the path, unless the store wants it in the host's name
    in_host = options.get("virtual_hosted_style_request", "false").lower() in ("true", "1")
    found[f"{S3A}path.style.access"] = str(not in_host).lower()
    if options.get("skip_signature", "false").lower() in ("true", "1"):
        found[f"{S3A}aws.credentials.provider"] = "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"
    return {**LOG_STORE, **found}
