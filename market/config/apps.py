"""The composition root as a Django app: it has no tables, but system checks, commands and jobs."""

from django.apps import AppConfig
from django.core import checks

from market.config import celery_app
from market.config.checks import check_environment


class MarketConfig(AppConfig):
    """Settings, addresses and start of the market."""

    name = "market.config"

    def ready(self) -> None:
        """Register the check of the environment, and let the jobs of web processes find our broker."""
        celery_app.app.set_default()
        checks.register(check_environment, "market")
