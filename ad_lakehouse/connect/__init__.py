"""Kafka Connect: our connectors on a distributed worker, over its REST interface.

Belongs here: connector files, what differs, changing it, the states of connectors and tasks. Not here: starting
workers (docker/connect), printing (cli_connect.py), alerts (alerts/, defs/connect.py).
"""
