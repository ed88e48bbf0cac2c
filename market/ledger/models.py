"""Double entry: accounts and immutable transfers. It knows no bounty, no user and no provider.

Accounts and transfers have one writer, the SQL function ``ledger_post`` (see `market.ledger.transfers`); marks
have ``ledger_mark`` (see `market.ledger.marks`). Triggers refuse every other write: migration 0002 says how far
that reaches.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class Account(models.Model):
    """An address such as ``test:agent:<id>:available:USD``; mode and currency are part of it.

    A guarded account keeps its balance in this row and can't go below zero. A shared account (fees, clearing) is
    never updated: its balance is the last `BalanceMark` plus the transfers after it.
    """

    id = models.BigAutoField(primary_key=True)
    path = models.CharField(max_length=120, unique=True)
    currency = models.CharField(max_length=5)
    is_guarded = models.BooleanField()
    balance_minor = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_guarded=True, balance_minor__isnull=False, balance_minor__gte=0)
                | Q(is_guarded=False, balance_minor__isnull=True),
                name="guarded_account_is_never_below_zero",
            ),
        ]

    def __str__(self) -> str:
        return self.path


class Transfer(models.Model):
    """An immutable move of money. The caller makes the id, so a second attempt is harmless."""

    id = models.UUIDField(primary_key=True, editable=False)
    # Order of recording; gaps are possible after a rollback.
    seq = models.BigIntegerField(unique=True)
    # No constraint in the database: its check would lock the rows of shared accounts with every transfer.
    # ``ledger_post`` opens or finds both accounts, triggers refuse deletion, and the audit looks for orphans.
    source = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    destination = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount_minor = models.BigIntegerField()
    reason = models.CharField(max_length=32)
    # What it belongs to, e.g. "bty_..." or "pay_...".
    subject = models.CharField(max_length=40)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0, amount_minor__lte=2**53), name="transfer_amount_is_positive"),
            models.CheckConstraint(condition=~Q(source=F("destination")), name="transfer_joins_two_accounts"),
        ]
        indexes = [
            models.Index(fields=["source", "seq"], name="transfer_by_source"),
            models.Index(fields=["destination", "seq"], name="transfer_by_destination"),
        ]

    def __str__(self) -> str:
        return f"transfer {self.pk}"


class BalanceMark(models.Model):
    """The balance of a shared account over all transfers up to ``upto_seq``."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="marks")
    upto_seq = models.BigIntegerField()
    balance_minor = models.DecimalField(max_digits=38, decimal_places=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "upto_seq"], name="account_has_one_mark_per_seq")]

    def __str__(self) -> str:
        return f"mark of {self.account_id} at {self.upto_seq}"
