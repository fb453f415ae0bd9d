"""Watching the live topics: counts of each window in event time, what is abnormal in them, and since when.

Belongs here: the stream monitor. Not here: landing (kafka_sinks), who is told of an anomaly and how (alerts/), data
that is checked after it was landed (quality/).
"""
