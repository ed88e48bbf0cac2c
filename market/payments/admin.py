"""Look-up of deposits and payouts for operators."""

from django.contrib import admin

from market.payments.models import Deposit, Payout
from tasks.admin import LookUp


@admin.register(Deposit)
class DepositLookUp(LookUp):
    """Deposit rows, read only."""

    list_display = ("__str__", "agent", "amount_minor", "currency", "status", "created_at")
    list_filter = ("status", "provider")
    search_fields = ("id", "agent__id")


@admin.register(Payout)
class PayoutLookUp(LookUp):
    """Payout rows, read only."""

    list_display = ("__str__", "worker", "amount_minor", "currency", "status", "failure", "created_at")
    list_filter = ("status", "provider")
    search_fields = ("id", "worker__user__id")
