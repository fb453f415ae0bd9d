"""Where dbt looks for the adapter type `lakespark`. Not here: the adapter itself (ad_lakehouse.dbt_spark.adapter)."""

from ad_lakehouse.dbt_spark.adapter import Plugin

__all__ = ["Plugin"]
