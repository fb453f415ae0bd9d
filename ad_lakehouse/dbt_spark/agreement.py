"""What makes Spark agree with DuckDB, whatever runs it.

Belongs here: settings that decide results. Not here: those that decide speed or where Spark runs (session.py). Imports
nothing of Spark, since the project is also compiled where it is not installed.
"""

from collections.abc import Mapping

AGREEMENT: Mapping[str, str] = {
    "spark.sql.ansi.enabled": "true",  # else an overflow or a failed cast gives a wrong number or null in silence
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",  # contracts are written in standard SQL
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default, INT96, is read as nanoseconds
    "spark.sql.variable.substitute": "false",  # else ${…} in a text of a model is replaced
    "spark.databricks.delta.replaceWhere.constraintCheck.enabled": "true",
}
