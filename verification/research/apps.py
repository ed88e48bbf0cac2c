"""How Django finds this app."""

from django.apps import AppConfig


class ResearchConfig(AppConfig):
    """Facts of research bounties."""

    name = "verification.research"
    label = "research"
