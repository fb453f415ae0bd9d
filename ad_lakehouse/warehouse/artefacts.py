"""What the Hive Metastore is made of besides Java: its program, and the jars that it needs and does not bring.

Belongs here: which artefacts. Not here: fetching (ad_lakehouse/artefacts.py), starting it (docker/hive-metastore).
`python -m ad_lakehouse.warehouse.artefacts` fetches them, as the image does when it is built.
"""

import sys

from ad_lakehouse.artefacts import Artefacts, FetchFailed, fetched

HIVE_VERSION, HADOOP_VERSION = "4.0.1", "3.4.2"
METASTORE = Artefacts(
    "hive-metastore",
    "Hive Metastore",
    HIVE_VERSION,
    (
        f"org.apache.hive:hive-standalone-metastore-server:{HIVE_VERSION}:tar.gz:bin",
        # What it needs and does not bring
        f"org.apache.hadoop:hadoop-client-api:{HADOOP_VERSION}",
        f"org.apache.hadoop:hadoop-client-runtime:{HADOOP_VERSION}",
        f"org.apache.hadoop:hadoop-hdfs:{HADOOP_VERSION}",
        "commons-io:commons-io:2.16.1",
        "org.slf4j:slf4j-api:1.7.36",
        "javax.servlet:javax.servlet-api:3.1.0",
        "commons-collections:commons-collections:3.2.2",
        "org.apache.httpcomponents:httpclient:4.5.13",
        "com.google.code.gson:gson:2.9.0",
    ),
    jars=121,
    size="134 MB",
    alone=True,
)


def main() -> int:
    """Fetches what is missing; says what can't be had, with the error's exit code."""
    try:
        folder = fetched(METASTORE, lambda line: print(line, flush=True))  # noqa: T201 a command of docker/
    except FetchFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"{METASTORE.title} is ready: {folder}.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
