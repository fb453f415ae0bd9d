"""Every setting, one class a concern, read from the environment (`AD_LAKEHOUSE_…`) when asked, never at import.

Nested settings use two underscores: `AD_LAKEHOUSE_KAFKA__BOOTSTRAP_SERVERS`. Secrets may also stand in files of the
folder `AD_LAKEHOUSE_SECRETS_DIR`, one for each group, as JSON: `ad_lakehouse_kafka` with `{"sasl_password": …}`.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ad_lakehouse.errors import ConfigurationError

PREFIX = "AD_LAKEHOUSE_"
# Variables that are read elsewhere
NO_SETTINGS = {"secrets_dir", "cache", "java", "dev_user", "dbt_target", "rebuild_days", "codes"}


class Part(BaseModel):
    """Settings of one concern; a misspelt one is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class KafkaSettings(Part):
    """How to reach Kafka."""

    model_config = ConfigDict(hide_input_in_errors=True)  # some inputs here are secrets

    bootstrap_servers: str = ""
    client: dict[str, str] = Field(default_factory=dict, description="Further librdkafka settings")
    sasl_password: SecretStr | None = None
    schema_registry: str = Field("", description="URL of a Confluent-compatible registry, or a folder of <id>.avsc")
    schema_registry_auth: SecretStr | None = Field(None, description="user:password of the registry")
    group: str = Field("ad-lakehouse", description="Consumer group: divides the service's work, and shows lag")

    @field_validator("schema_registry_auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and ":" not in value.get_secret_value():
            raise ValueError("must be user:password (the value is not shown, it is a secret)")
        return value


class ConnectSettings(Part):
    """Kafka Connect, where it brings files into topics; without a URL nobody asks for it."""

    model_config = ConfigDict(hide_input_in_errors=True)  # some inputs here are secrets

    url: str = Field("", description="A worker's REST interface: http://host:8083")
    auth: SecretStr | None = Field(None, description="user:password, where a proxy before the worker asks for them")
    connectors: Path = Field(Path("docker/connect/connectors"), description="Folder of connector files")

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and (not value.startswith(("http://", "https://")) or "@" in value):
            raise ValueError("must be http://host:port without a password; that is AD_LAKEHOUSE_CONNECT__AUTH")
        return value

    @field_validator("auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and ":" not in value.get_secret_value():
            raise ValueError("must be user:password (the value is not shown, it is a secret)")
        return value


class LandingSettings(Part):
    """What landing accepts and how much memory it may use."""

    max_batch_rows: int = Field(64_000, gt=0, description="Larger batches cost memory and gain little speed")
    max_batch_bytes: int = Field(128 << 20, gt=0, description="Bytes of payload held at once by one run of one topic")
    memory_bytes: int = Field(1 << 30, ge=512 << 20, description="Bound of the memory of the service (land --follow)")
    max_age_seconds: float = Field(
        30.0, gt=0, description="The service commits what it holds at the latest after this time"
    )
    stall_seconds: float = Field(
        300.0, gt=0, description="The service calls a partition stalled that stands so long though the topic has more"
    )
    past_days: int = Field(400, ge=0, description="Event times older than this are rejected")
    future_days: int = Field(1, ge=0)
    settle_seconds: float = Field(2.0, ge=0, description="Files of the drop folder written to within this time wait")
    topics: Literal["runs", "service"] = Field(
        "runs", description="What lands topics under Dagster: its own runs, or the service (land --follow) beside it"
    )
    sources: Path | None = Field(None, description="Folder of source YAML files added to the built-in ones")


class RouterSettings(Part):
    """How dropped files become records of topics."""

    folder: str | None = Field(None, description="Folder or URL (s3://…) of a prefix whose files are routed")
    by: Literal["service", "runs"] = Field(
        "service", description="What routes: the command (route --follow), or Dagster's runs, which show the files"
    )
    progress_topic: str = Field(
        "_ad_lakehouse.routed", min_length=1, description="Topic that knows what is routed; one router at a time"
    )
    rows_per_transaction: int = Field(20_000, gt=0, description="Rows that become visible together")
    bytes_per_transaction: int = Field(32 << 20, gt=0, description="About as many bytes at most")
    poll_seconds: float = Field(2.0, gt=0, description="route --follow looks for new files so often")


class MaintenanceSettings(Part):
    """What `ad-lakehouse maintain` makes of a table's files, and how long it keeps old ones."""

    target_bytes: int = Field(128 << 20, ge=1 << 20, description="Files smaller than this are put together")
    min_files: int = Field(8, ge=2, description="A day with fewer small files is left as it is")
    vacuum_days: int = Field(7, ge=1, description="Files of older versions stay so many days")
    log_days: int = Field(30, ge=1, description="Log entries stay so many days, and longer if needed")
    monitor_days: int = Field(
        200, ge=190, description="Counts of the stream monitor stay so many days: longer than any baseline looks back"
    )


class TransformSettings(Part):
    """How dbt and its engine run."""

    engine: Literal["duckdb", "spark"] = Field("duckdb", description="What builds the published tables")
    threads: int = Field(4, gt=0)
    memory_limit: str = Field("75%", description="DuckDB memory_limit; what does not fit spills to temp_folder")
    temp_folder: Path | None = None


class SparkSettings(Part):
    """The Spark session that this process starts or connects to; needs the extra `spark`."""

    master: str = Field("local[*]", description="local[*], or a cluster: spark://host:7077, yarn, k8s://…")
    remote: str = Field("", description="Spark Connect in place of `master`: sc://host:15002")
    driver_memory: str = Field("4g", description="Heap of the driver, which in local mode does all the work")
    conf: dict[str, str] = Field(default_factory=dict, description="Further Spark settings, as JSON")


class MonitorSettings(Part):
    """What the stream monitor counts in, and when it calls something an anomaly. Shares are 0 to 1."""

    group: str = Field("ad-lakehouse-monitor", description="Consumer group: shows how far the monitor has read")
    owner: str = Field("team:ingestion", description="Owner of its alerts, for routes")
    window_seconds: int = Field(10, gt=0, le=3600, description="Length of a window, in event time")
    lateness_seconds: float = Field(
        10.0, ge=0, description="A window closes when its partitions have passed its end by this; later events are late"
    )
    idle_seconds: float = Field(5.0, gt=0, description="A partition silent for so long holds no window open")
    commit_seconds: float = Field(5.0, gt=0, description="Counts are committed and judged so often")
    recent_ids: int = Field(
        1 << 23, ge=1 << 10, description="Places for ids of each source, 8 bytes each: how far back duplicates are seen"
    )
    baseline_weeks: int = Field(4, ge=1, le=26)
    min_history: int = Field(360, ge=10, description="Windows a baseline needs; before that nothing is judged")
    k: int = Field(2, ge=1, description="Windows out of `n` that must be abnormal before an anomaly begins")
    n: int = Field(3, ge=1, description="It ends when the last `n` windows are all normal")
    z: float = Field(5.0, gt=0, description="Robust standard deviations off the baseline, for counts")
    drop: float = Field(0.4, gt=0, lt=1, description="A count must be lower than the baseline by at least this share")
    spike: float = Field(0.6, gt=0, description="A count must be higher than the baseline by at least this share")
    min_volume: float = Field(20.0, gt=0, description="Events a window must be expected to have for its count to count")
    rate_windows: int = Field(6, ge=1, description="Windows put together to judge a rate")
    rate_z: float = Field(4.5, gt=0, description="Confidence of the bounds of a rate, in standard deviations")
    rate_shift: float = Field(0.5, gt=0, description="A rate must be off its baseline by at least this share of it")
    rate_least: float = Field(0.01, ge=0, le=1, description="Shares below this are no anomaly (not for CTR)")
    min_trials: int = Field(200, gt=0, description="Records a rate needs to be judged")
    judge_within_seconds: float = Field(
        21_600.0, gt=0, description="Older windows, as of a backlog at the first start, are baseline only"
    )
    alert_within_seconds: float = Field(
        900.0, gt=0, description="Anomalies of older windows are recorded, and told when reading is no more behind"
    )
    ctr_of: tuple[str, str] = Field(("clicks", "impressions"), description="CTR is events of the first by the second")

    @model_validator(mode="after")
    def _k_of_n(self) -> "MonitorSettings":
        if self.k > self.n:
            raise ValueError("k must not be greater than n")
        return self


class TrinoSettings(Part):
    """The Trino whose catalog knows the lake's tables; none unless a host is set."""

    model_config = ConfigDict(hide_input_in_errors=True)  # one input here is a secret

    host: str = Field("", description="Its coordinator")
    port: int = Field(8080, gt=0, lt=65_536)
    user: str = "ad-lakehouse"
    password: SecretStr | None = Field(None, description="Sent by HTTPS only")
    https: bool = False
    ca_file: Path | None = Field(
        None, description="PEM of the authority that signed its certificate, if not a known one"
    )
    catalog: str = Field("lake", description="One of the Delta Lake connector")
    schema_prefix: str = Field(
        "", description="Before each layer's name: a second lake in the same metastore needs one"
    )

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if self.password is not None and not self.https:
            raise ValueError("a password needs HTTPS: true, else it would be sent in clear")
        return self


class AlertSettings(Part):
    """Where alerts go; a channel without its setting is off."""

    model_config = ConfigDict(hide_input_in_errors=True)  # inputs here are mostly secrets

    name: str = Field(
        "ad-lakehouse",
        description="Stands in every message and before each PagerDuty key: give each lake its own",
    )
    slack_bot_token: SecretStr | None = None
    slack_channel: str = Field("", description="Where the bot posts; routes may name further channels")
    slack_webhook_url: SecretStr | None = None
    slack_api_url: str = "https://slack.com/api"
    pagerduty_routing_key: SecretStr | None = None
    pagerduty_routing_keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further PagerDuty services; routes call them pagerduty:<name>"
    )
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    webhook_url: SecretStr | None = None
    webhooks: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further webhooks; routes call them webhook:<name>"
    )
    apprise_urls: list[SecretStr] = Field(
        default_factory=list, description="Any other service; routes call them apprise:1, apprise:2, …"
    )
    heartbeat_url: SecretStr | None = Field(None, description="Called on each healthy evaluation")
    routes: Path | None = Field(None, description="YAML of routes, quiet hours and snoozes")
    timeout_seconds: float = Field(10.0, gt=0, le=60, description="For one message to one channel")

    @field_validator("slack_webhook_url", "webhook_url", "heartbeat_url", "webhooks")
    @classmethod
    def _web_address(cls, value: Any) -> Any:
        for secret in value.values() if isinstance(value, dict) else [value]:
            if secret and not secret.get_secret_value().startswith(("http://", "https://")):
                raise ValueError("must start with http:// or https:// (the value is not shown, it may be a secret)")
        return value


class Settings(BaseSettings):
    """All settings of one lake."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore")

    lake: str = Field("lake", description="Folder or URL (s3://…) of the lake")
    storage_options: dict[str, str] = Field(
        default_factory=dict, repr=False, description="Passed to the object store; some are secrets"
    )
    drop_folder: str | None = Field(None, description="Folder or URL (s3://…) of a prefix watched for files to land")
    drop_storage_options: dict[str, str] | None = Field(
        None, repr=False, description="Passed to the object store of the drop folder; those of the lake when not set"
    )
    contracts: Path | None = Field(None, description="Folder <layer>/<table>.yml of contracts in place of the built-in")
    freshness: Path | None = Field(None, description="YAML of freshness windows laid over the built-in ones")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    connect: ConnectSettings = Field(default_factory=ConnectSettings)
    landing: LandingSettings = Field(default_factory=LandingSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    maintenance: MaintenanceSettings = Field(default_factory=MaintenanceSettings)
    transform: TransformSettings = Field(default_factory=TransformSettings)
    spark: SparkSettings = Field(default_factory=SparkSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    trino: TrinoSettings = Field(default_factory=TrinoSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)

    @field_validator("drop_folder", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @property
    def drop_options(self) -> dict[str, str]:
        """What the object store of the drop folder is given."""
        return self.storage_options if self.drop_storage_options is None else self.drop_storage_options


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` on top (None means not given).

    Raises `ConfigurationError` naming the variable, the value's problem and the remedy.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    check_names()
    secrets = os.environ.get(f"{PREFIX}SECRETS_DIR")
    if secrets and not Path(secrets).is_dir():
        raise ConfigurationError(
            f"Setting {PREFIX}SECRETS_DIR: there is no folder {secrets}.", remedy="Correct or unset it."
        )
    try:
        return Settings(_secrets_dir=secrets, **given)
    except ValidationError as error:
        problem = setting_error(error)
    except SettingsError as error:
        field = str(error).split('"')[1] if '"' in str(error) else ""
        problem = ConfigurationError(
            f"Setting {PREFIX}{field.upper()}, or one that begins so, or the secrets file {PREFIX.lower()}{field}: "
            "it is not JSON.",
            remedy="Correct or unset it.",
        )
    raise problem  # outside the handler: the pydantic error would keep the values, secrets too, in the traceback


def check_names() -> None:
    """Raises `ConfigurationError` for a variable of ours that is none: misspelt, it would have no effect."""
    known = {*Settings.model_fields, *NO_SETTINGS}
    for variable in os.environ:
        top = variable.lower().removeprefix(PREFIX.lower()).split("__")[0]
        if variable.upper().startswith(PREFIX) and top not in known and not top.startswith("test_"):
            groups = [each for each in known if top.startswith(f"{each}_")]  # two underscores come before an inner name
            meant = f"{groups[0]}__{top.removeprefix(groups[0] + '_')}" if groups else nearest(top, known)
            raise no_such_setting(variable, meant)


def nearest(name: str, known: Iterable[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1)), "")


def no_such_setting(variable: str, meant: str) -> ConfigurationError:
    """`meant` is the name that comes nearest, without the prefix; none if empty."""
    remedy = f"Did you mean {PREFIX}{meant.upper()}?" if meant else "Correct or unset it."
    return ConfigurationError(f"{variable}: there is no such setting.", remedy=remedy)


def setting_error(error: ValidationError) -> ConfigurationError:
    """The first problem as our error, naming the variable."""
    first = error.errors(include_input=False, include_url=False)[0]
    variable = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
    if first["type"] == "extra_forbidden":
        group, name = str(first["loc"][0]), str(first["loc"][-1])
        part = Settings.model_fields[group].annotation
        near = nearest(name, part.model_fields) if isinstance(part, type) and issubclass(part, Part) else ""
        return no_such_setting(variable, f"{group}__{near}" if near else "")
    problem = first["msg"].removeprefix("Value error, ")
    return ConfigurationError(f"Setting {variable}: {problem}.", remedy="Correct or unset it.")
