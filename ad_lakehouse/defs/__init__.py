"""Dagster: what it shows and when it acts. Each function is a few lines that call the plain packages.

Belongs here: assets, checks, jobs, sensors, and what their metadata says. Not here: landing, building, checking or
alerting themselves; all of them run and are tested without Dagster.
"""
