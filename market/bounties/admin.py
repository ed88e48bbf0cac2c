"""Look-up of bounties, settlements and appeals for operators."""

from django.contrib import admin

from market.bounties.models import Appeal, Bounty, Settlement
from tasks.admin import LookUp


@admin.register(Bounty)
class BountyLookUp(LookUp):
    """Bounty rows, read only."""

    list_display = ("__str__", "agent", "status", "mode", "created_at", "closed_because")
    list_filter = ("status", "mode")
    search_fields = ("id", "agent__id")


@admin.register(Settlement)
class SettlementLookUp(LookUp):
    """Settlement rows, read only."""

    list_display = ("__str__", "bounty", "kind", "worker_minor", "fee_minor", "currency", "settled_at")
    list_filter = ("kind",)
    search_fields = ("id", "bounty__id", "submission__id")


@admin.register(Appeal)
class AppealLookUp(LookUp):
    """Appeal rows, read only."""

    list_display = ("__str__", "created_at", "decided_at")
    search_fields = ("submission__id",)
