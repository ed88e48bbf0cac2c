"""Look-up of held funds, bonds and stakes for operators."""

from django.contrib import admin

from market.escrow.models import Bond, Hold, Stake
from tasks.admin import LookUp


@admin.register(Hold)
class HoldLookUp(LookUp):
    """Hold rows, read only."""

    list_display = ("__str__", "kind", "status", "amount_minor", "captured_minor", "returned_minor", "currency")
    list_filter = ("status", "kind", "mode")
    search_fields = ("id", "bounty_id")


@admin.register(Bond)
class BondLookUp(LookUp):
    """Bond rows, read only."""

    list_display = ("__str__", "status", "amount_minor", "currency", "source_path", "created_at", "ended_at")
    list_filter = ("status", "mode")
    search_fields = ("id", "subject")


@admin.register(Stake)
class StakeLookUp(LookUp):
    """Stake rows, read only."""

    list_display = ("__str__", "filled_minor", "withdrawn_minor", "lost_minor", "currency", "mode")
    list_filter = ("mode", "currency")
    search_fields = ("worker_id",)
