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

    EDGES = {
        Status.REQUESTED: {Status.CONFIRMED, Status.FAILED},
        Status.CONFIRMED: set(),
        Status.FAILED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="deposits")
    mode = models.CharField(max_length=4, choices=Mode)
    provider = models.CharField(max_length=16)
    # The provider's own name for where the money comes from (never a card or account number).
    source = models.CharField(max_length=80)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    status = models.CharField(max_length=9, choices=Status, default=Status.REQUESTED)
    failure = models.CharField(max_length=80, blank=True, default="")
    # Empty until the provider has answered; the sweeper asks again for those.
    provider_ref = models.CharField(max_length=80, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="deposit_amount_is_positive"),
            models.CheckConstraint(condition=~Q(status="CONFIRMED") | Q(confirmed_at__isnull=False), name="confirmed_deposit_has_its_time"),
        ]
        indexes = [
            models.Index(fields=["agent", "-id"], name="deposit_by_agent"),
            models.Index(fields=["created_at"], condition=Q(status="REQUESTED", provider_ref=""), name="deposit_to_collect"),
        ]

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

    # Made of the worker and the id of his request, so the same request twice is the same payout.
    id = models.UUIDField(primary_key=True, editable=False)
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
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="payout_amount_is_positive"),
            models.CheckConstraint(condition=~Q(status="FAILED") | ~Q(failure=""), name="failed_payout_says_why"),
        ]
        indexes = [
            models.Index(fields=["worker", "-created_at"], name="payout_by_worker"),
            models.Index(fields=["available_at"], condition=Q(lease_state="READY"), name="payout_to_send"),
            models.Index(fields=["lease_until"], condition=Q(lease_state="LEASED"), name="payout_lease_ends"),
        ]

    def __str__(self) -> str:
        return ids.encode("pay", self.pk)


class ProviderEvent(models.Model):
    """An inbound provider message, stored raw before it is believed, then processed once, in any order."""

    provider = models.CharField(max_length=16)
    event_id = models.CharField(max_length=120)
    # Bytes as they came, so that nothing has been read, repaired or refused before they are kept.
    raw_body = models.BinaryField()
    received_at = models.DateTimeField(db_default=Now())
    processed_at = models.DateTimeField(null=True, blank=True)
    # Why it had no effect; an operator looks at these, and the audit names them.
    error = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "event_id"], name="provider_event_is_stored_once")]
        indexes = [
            models.Index(fields=["received_at"], condition=Q(processed_at__isnull=True), name="provider_event_to_process"),
            models.Index(fields=["received_at"], condition=~Q(error=""), name="provider_event_with_error"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"


class TestBankEntry(models.Model):
    """The book of the ``test_money`` bank: it stands for a system outside, and only its provider reads or writes it."""

    # Not a test, whatever its name begins with.
    __test__ = False

    class Outcome(models.TextChoices):
        PENDING = "PENDING", "pending"
        PAID = "PAID", "paid"
        FAILED = "FAILED", "failed"
        RETURNED = "RETURNED", "returned after it was paid"

    class Direction(models.TextChoices):
        IN = "in", "collected from somebody"
        OUT = "out", "paid to somebody"

    idempotency_key = models.CharField(max_length=80, unique=True)
    direction = models.CharField(max_length=3, choices=Direction)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    # Where it comes from or goes to.
    counterpart = models.CharField(max_length=80)
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.PENDING)
    # When the bank will have news of it; null when it has told everything.
    news_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["news_at"], condition=Q(news_at__isnull=False), name="test_bank_has_news")]

    def __str__(self) -> str:
        return f"bank entry {self.idempotency_key}"
