"""The events app and its system check."""

from django.apps import AppConfig
from django.core import checks

from market.events.checks import no_test_hosts_in_production


class EventsConfig(AppConfig):
    """Events, and the outbox of webhooks."""

    name = "market.events"

    def ready(self) -> None:
        """Register the system check."""
        checks.register(no_test_hosts_in_production, checks.Tags.security)
