"""The lake's tables in a query engine's catalog: Trino over a Hive Metastore.

Belongs here: talking to Trino, registering tables. Not here: the command (cli_register.py), the asset
(defs/warehouse.py), the engine's own configuration (docker/trino, docker/hive-metastore).
"""
