"""The configured ways out, by the names that routes use.

Belongs here: settings to channels. Not here: what a channel sends (its own module).

Names: `slack` (bot, its default channel), `slack:#other` (the same bot), `slack-webhook`, `pagerduty`, `webhook`,
`apprise:1`, …; further PagerDuty services and webhooks are `pagerduty:<name>` and `webhook:<name>`.
"""

from typing import Protocol

from pydantic import SecretStr

from ad_lakehouse.alerts.apprise_services import AppriseService
from ad_lakehouse.alerts.http import Http
from ad_lakehouse.alerts.outbox import Outcome
from ad_lakehouse.alerts.pagerduty import PagerDuty
from ad_lakehouse.alerts.redaction import Redactor
from ad_lakehouse.alerts.routes import Routes
from ad_lakehouse.alerts.slack import SlackBot, SlackWebhook
from ad_lakehouse.alerts.state import Delivery
from ad_lakehouse.alerts.webhook import Webhook
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.settings import AlertSettings


class Channel(Protocol):
    """One way out. `send` never raises for what the other side does."""

    @property
    def name(self) -> str: ...

    def send(self, delivery: Delivery, reference: str | None) -> Outcome: ...


def redactor(settings: AlertSettings) -> Redactor:
    """Hides every secret of the settings."""
    return Redactor(
        [
            settings.slack_bot_token, settings.slack_webhook_url, settings.pagerduty_routing_key, settings.webhook_url,
            settings.heartbeat_url, *settings.apprise_urls, *settings.webhooks.values(),
            *settings.pagerduty_routing_keys.values(),
        ]
    )  # fmt: skip


def build_channels(settings: AlertSettings, routes: Routes) -> dict[str, Channel]:
    """The channels that are configured. Of Slack's, also those that only a route names.

    Raises `ConfigurationError` for a Slack bot without a channel.
    """
    http = Http(settings.timeout_seconds, redactor(settings))
    lake = settings.name
    found: list[Channel] = []
    if settings.slack_bot_token:
        token = settings.slack_bot_token.get_secret_value()
        if settings.slack_channel:
            found.append(SlackBot("slack", http, settings.slack_api_url, token, settings.slack_channel, lake))
        found += [
            SlackBot(name, http, settings.slack_api_url, token, name.partition(":")[2], lake)
            for name in sorted(slack_channels(routes))
        ]
        if not found:
            raise ConfigurationError(
                "AD_LAKEHOUSE_ALERTS__SLACK_BOT_TOKEN is set, but not where the bot posts.",
                remedy="Set AD_LAKEHOUSE_ALERTS__SLACK_CHANNEL, or name Slack channels in the routes.",
            )
    if settings.slack_webhook_url:
        found.append(SlackWebhook("slack-webhook", http, settings.slack_webhook_url.get_secret_value(), lake))
    for name, key in _named("pagerduty", settings.pagerduty_routing_key, settings.pagerduty_routing_keys):
        found.append(PagerDuty(name, http, settings.pagerduty_url, key, lake))
    for name, url in _named("webhook", settings.webhook_url, settings.webhooks):
        found.append(Webhook(name, http, url, lake))
    found += [
        AppriseService(f"apprise:{place}", http, secret.get_secret_value(), lake)
        for place, secret in enumerate(settings.apprise_urls, start=1)
    ]
    return {channel.name: channel for channel in found}


def slack_channels(routes: Routes) -> set[str]:
    """Slack channels that routes name beside the default one."""
    named = {each for route in routes.routes for each in route.reaches(len(route.escalation))}
    return {name for name in named if name.startswith("slack:")}


def _named(kind: str, one: SecretStr | None, more: dict[str, SecretStr]) -> list[tuple[str, str]]:
    first = [(kind, one.get_secret_value())] if one else []
    return first + [(f"{kind}:{name}", each.get_secret_value()) for name, each in sorted(more.items())]
