"""How Django finds this app."""

from django.apps import AppConfig


class ResearchBountiesConfig(AppConfig):
    """Money of research bounties; the label tells it from the facts' app."""

    name = "market.bounties.research"
    label = "research_bounties"
