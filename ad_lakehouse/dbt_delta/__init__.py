"""dbt on Delta: the dbt-duckdb plugin that reads pinned versions and rebuilds exactly the days that changed.

Belongs here: deciding what is stale (plan.py), reading inputs (inputs.py, pins.py), building one table (store.py),
the dbt-duckdb plugin (plugin.py), running dbt in this process (run.py). Not here: SQL of models (dbt_project).
"""
