"""The Delta tables of a lake: where they are, how they are made, what their log says.

Belongs here: paths, table creation and opening, reading the log (changed days, recorded builds), retention,
maintenance, erasure. Not here: what stands in a table (kafka_sinks, dbt_project) or who asks (defs, cli).
"""

from ad_lakehouse.lake.tables import FORMAT, Lake, TableName

__all__ = ["FORMAT", "Lake", "TableName"]
