"""Alerts: what is wrong now, who is told, and what became of each message.

Belongs here: conditions and what became of them (machine.py), who hears of it (routes.py), messages not yet
delivered (outbox.py), the table that keeps both (store.py), the ways out (slack.py, pagerduty.py, webhook.py,
apprise_services.py). Not here: finding out that something is wrong (quality/, defs/).
"""

from ad_lakehouse.alerts.conditions import Condition
from ad_lakehouse.alerts.evaluation import EvaluationReport, evaluate
from ad_lakehouse.alerts.handling import ListedAlert, acknowledge, list_alerts, retry_failed, snooze
from ad_lakehouse.alerts.trial import ChannelTrial, send_test

__all__ = [
    "ChannelTrial",
    "Condition",
    "EvaluationReport",
    "ListedAlert",
    "acknowledge",
    "evaluate",
    "list_alerts",
    "retry_failed",
    "send_test",
    "snooze",
]
