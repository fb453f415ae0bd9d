"""The same dbt project on Apache Spark: a dbt adapter that rebuilds exactly the days that changed.

Belongs here: the adapter and what it does on Spark (staging, checks, commits), the Spark session, fetching its jars.
Not here: what is stale, the order of the steps of a build (dbt_delta), SQL of models (dbt_project).
"""
