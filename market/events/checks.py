"""System checks of the egress guard's settings."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core import checks


def no_test_hosts_in_production(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Refuse to start a production market that may call loopback addresses or plain http."""
    if settings.IS_PRODUCTION and settings.EGRESS_TEST_HOSTS:
        return [
            checks.Error(
                "ATOMS_EGRESS_TEST_HOSTS is set in production: webhooks could reach this machine's own services.",
                hint="Unset ATOMS_EGRESS_TEST_HOSTS.",
                id="events.E001",
            )
        ]
    return []
