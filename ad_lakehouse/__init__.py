"""Lakehouse for advertising events: landing, transform, attribution, quality, alerts."""
