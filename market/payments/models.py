"""Money in and out through providers: deposits, payouts and raw inbound events."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from market.accounts.models import Agent
from tasks import ids, leases
from tasks.models import Mode, WorkerProfile


class Deposit(models.Model):
    """Money on its way into an agent's available balance."""

    class Status(models.TextChoices):
        REQUESTED = "REQUESTED", "requested"
        CONFIRMED = "CONFIRMED", "confirmed"
        FAILED = "FAILED", "failed"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="deposits")
    mode = models.CharField(max_length=4, choices=Mode)
    provider = models.CharField(max_length=16)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    status = models.CharField(max_length=9, choices=Status, default=Status.REQUESTED)
    provider_ref = models.CharField(max_length=80, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(amount_minor__gt=0), name="deposit_amount_is_positive")]

    def __str__(self) -> str:
        return ids.encode("dep", self.pk)


class Payout(leases.Leased):
    """Money on its way from a worker's payable balance to his bank; a leased row until the provider has it."""

    class Status(models.TextChoices):
        REQUESTED = "REQUESTED", "requested"
        SENT = "SENT", "sent"
        PAID = "PAID", "paid"
        FAILED = "FAILED", "failed or returned"

    EDGES = {
        Status.REQUESTED: {Status.SENT, Status.FAILED},
        Status.SENT: {Status.PAID, Status.FAILED},
        Status.PAID: {Status.FAILED},  # Banks return paid payouts.
        Status.FAILED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="payouts")
    mode = models.CharField(max_length=4, choices=Mode)
    provider = models.CharField(max_length=16)
    # The provider's own name for where the money goes (never a card or account number).
    destination = models.CharField(max_length=80)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    status = models.CharField(max_length=9, choices=Status, default=Status.REQUESTED)
    failure = models.CharField(max_length=80, blank=True, default="")
    provider_ref = models.CharField(max_length=80, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(amount_minor__gt=0), name="payout_amount_is_positive")]

    def __str__(self) -> str:
        return ids.encode("pay", self.pk)


class ProviderEvent(models.Model):
    """An inbound provider message, stored raw before it is believed, then processed once, in any order."""

    provider = models.CharField(max_length=16)
    event_id = models.CharField(max_length=120)
    raw_payload = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    processed_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "event_id"], name="provider_event_is_stored_once")]
        indexes = [models.Index(fields=["received_at"], condition=Q(processed_at__isnull=True), name="provider_event_to_process")]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"


class TestBankEntry(models.Model):
    """The book of the ``test_money`` bank: it stands for a system outside, and only its provider reads or writes it."""

    class Outcome(models.TextChoices):
        PENDING = "PENDING", "pending"
        PAID = "PAID", "paid"
        REFUSED = "REFUSED", "refused"
        RETURNED = "RETURNED", "returned after it was paid"

    idempotency_key = models.CharField(max_length=80, unique=True)
    direction = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    destination = models.CharField(max_length=80, blank=True, default="")
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.PENDING)
    settles_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"bank entry {self.idempotency_key}"
