"""Spark Structured Streaming of one topic into a Delta table: a peer. `spark_stream_once TABLE BOOTSTRAP TOPIC SOURCE`.

It does what its guides say: one `availableNow` query, `from_json` with the source's types (Avro: the five bytes of
framing cut off, `from_avro`), the day as the partition column. It rejects nothing: what cannot be read becomes null.
"""

import json
import os
import sys
import tempfile
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from ad_lakehouse.artefacts import Artefacts, fetched
from ad_lakehouse.dbt_spark.artefacts import require_spark
from ad_lakehouse.dbt_spark.session import DELTA
from benchmarks.measure import report
from kafka_sinks.sources import Source, load_sources

VERSION = "4.2.0"  # of the connectors; Spark's own is requirements-spark.in's
CONNECTORS = Artefacts(
    "spark-kafka",
    "Spark's connectors for Kafka and Avro",
    VERSION,
    (
        f"org.apache.spark:spark-sql-kafka-0-10_2.13:{VERSION}",
        f"org.apache.spark:spark-token-provider-kafka-0-10_2.13:{VERSION}",
        f"org.apache.spark:spark-avro_2.13:{VERSION}",
        "org.apache.kafka:kafka-clients:3.9.1",
        "org.apache.commons:commons-pool2:2.12.1",
    ),
    jars=5,
    size="7 MB",
    alone=True,  # what else they need is part of PySpark
)
TIME = "event_ts"
TYPES = {
    pa.string(): "string", pa.binary(): "binary", pa.bool_(): "boolean", pa.int32(): "int", pa.int64(): "bigint",
    pa.float64(): "double", pa.date32(): "date", pa.timestamp("us", "UTC"): "timestamp",
}  # fmt: skip
SETTINGS = {
    **DELTA,
    "spark.driver.memory": "4g",
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.host": "127.0.0.1",
}


def stream(table: str, bootstrap: str, topic: str, name: str) -> int:
    """Lands the topic up to its end, the start of the session included."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    source = load_sources()[name]
    parts = require_spark()
    os.environ["JAVA_HOME"] = str(parts.java_home)
    jars = [*parts.jars, *fetched(CONNECTORS).glob("*.jar")]
    builder = SparkSession.builder.master("local[*]").config("spark.jars", ",".join(map(str, jars)))
    for setting, value in SETTINGS.items():
        builder = builder.config(setting, value)
    options = {"kafka.bootstrap.servers": bootstrap, "subscribe": topic, "startingOffsets": "earliest"}
    records = builder.getOrCreate().readStream.format("kafka").options(**options).load()
    origin = [f.col(each).alias(f"_{each}") for each in ("topic", "partition", "offset", "timestamp", "key")]
    rows = records.select(decoded(source).alias("row"), *origin)
    rows = rows.select("row.*", *rows.columns[1:]).withColumn("event_date", f.to_date(TIME))
    with tempfile.TemporaryDirectory() as checkpoint:
        writer = rows.writeStream.format("delta").partitionBy("event_date").option("checkpointLocation", checkpoint)
        writer.trigger(availableNow=True).start(table).awaitTermination()
    return int(DeltaTable(table).count())


def decoded(source: Source) -> Any:
    """The record of a message as a struct."""
    from pyspark.sql import functions as f
    from pyspark.sql.avro.functions import from_avro

    if source.wire == "avro":
        return from_avro(f.expr("substring(value, 6)"), json.dumps(source.schema))
    # The records' times are microseconds as numbers, which from_json takes for seconds
    types = {field.name: "bigint" if field.name == TIME else spark_type(field.type) for field in source.fields}
    row = f.from_json(f.col("value").cast("string"), ", ".join(f"`{name}` {kind}" for name, kind in types.items()))
    return row.withField(TIME, f.timestamp_micros(row[TIME]))


def spark_type(kind: pa.DataType) -> str:
    return f"array<{spark_type(kind.value_type)}>" if pa.types.is_list(kind) else TYPES[kind]


if __name__ == "__main__":
    report(lambda: stream(*sys.argv[1:]))
