"""Look-up of held funds for operators."""

from django.contrib import admin

from market.escrow.models import Hold
from tasks.admin import LookUp


@admin.register(Hold)
class HoldLookUp(LookUp):
    """Hold rows, read only."""

    list_display = ("__str__", "kind", "status", "amount_minor", "captured_minor", "returned_minor", "currency")
    list_filter = ("status", "kind", "mode")
    search_fields = ("id", "bounty_id")
