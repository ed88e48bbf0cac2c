"""Look-up of the ledger for operators; it only grows, and never from here."""

from django.contrib import admin

from market.ledger.models import Account, Transfer
from tasks.admin import LookUp


@admin.register(Account)
class AccountLookUp(LookUp):
    """Account rows, read only; a shared account shows no balance, it is a sum."""

    list_display = ("path", "balance_minor", "is_guarded", "created_at")
    list_filter = ("is_guarded",)
    search_fields = ("path",)


@admin.register(Transfer)
class TransferLookUp(LookUp):
    """Transfer rows, read only, newest first."""

    list_display = ("seq", "source", "destination", "amount_minor", "reason", "subject", "created_at")
    list_select_related = ("source", "destination")
    search_fields = ("id", "subject")
    ordering = ("-seq",)
