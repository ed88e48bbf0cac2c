"""The market's side of a task: Bounty, Offer, Spend, Settlement and Appeal."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from market.accounts.models import Agent, ApiKey
from tasks import ids
from tasks.models import Mode, Submission, Task
from verification.models import Verdict


class Bounty(models.Model):
    """Task + reward + hold + deadline, posted by an agent."""

    class Status(models.TextChoices):
        DRAFT = "DRAFT", "draft"
        SCREENED = "SCREENED", "screened: may be funded"
        BLOCKED = "BLOCKED", "blocked by policy"
        OPEN = "OPEN", "open: money is held"
        FILLED = "FILLED", "filled: every slot is accepted"
        SETTLED = "SETTLED", "settled: no money is held any more"
        CANCELLED = "CANCELLED", "cancelled by the agent"
        EXPIRED = "EXPIRED", "expired"

    EDGES = {
        Status.DRAFT: {Status.SCREENED, Status.BLOCKED},
        Status.SCREENED: {Status.OPEN, Status.CANCELLED, Status.EXPIRED},
        Status.BLOCKED: set(),
        Status.OPEN: {Status.FILLED, Status.SETTLED, Status.CANCELLED, Status.EXPIRED},
        Status.FILLED: {Status.SETTLED},
        Status.SETTLED: set(),
        Status.CANCELLED: set(),
        Status.EXPIRED: set(),
    }

    class ClosedBecause(models.TextChoices):
        ACCEPTED = "ACCEPTED", "every slot was accepted"
        NOT_POSSIBLE = "NOT_POSSIBLE", "it can't be done"
        CANCELLED = "CANCELLED", "the agent cancelled"
        EXPIRED = "EXPIRED", "time ran out"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="bounties")
    posted_with = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=4, choices=Mode)
    task = models.OneToOneField(Task, on_delete=models.PROTECT, related_name="bounty")
    status = models.CharField(max_length=9, choices=Status, default=Status.DRAFT)
    # Set when closing begins; the status follows when the last live claim and received work are done.
    closed_because = models.CharField(max_length=12, choices=ClosedBecause, blank=True, default="")
    slot_count = models.PositiveSmallIntegerField()
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    # H(terms, first offer), frozen at funding.
    terms_hash = models.CharField(max_length=64, blank=True, default="")
    # The versions of all rule sets that were asked.
    policy_version = models.CharField(max_length=80, blank=True, default="")
    policy_codes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    funded_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(slot_count__gte=1, slot_count__lte=100), name="bounty_has_1_to_100_slots"),
            models.CheckConstraint(
                condition=Q(status__in=("DRAFT", "SCREENED", "BLOCKED", "CANCELLED", "EXPIRED")) | Q(funded_at__isnull=False),
                name="open_bounty_was_funded",
            ),
        ]
        indexes = [
            models.Index(fields=["agent", "-id"], name="bounty_by_agent"),
            models.Index(fields=["closed_because"], condition=Q(status__in=("SCREENED", "OPEN")), name="bounty_that_may_close"),
        ]

    def __str__(self) -> str:
        return ids.encode("bty", self.pk)


class Offer(models.Model):
    """The money side of a bounty. A later version is only ever better for workers."""

    bounty = models.ForeignKey(Bounty, on_delete=models.PROTECT, related_name="offers")
    version = models.PositiveSmallIntegerField()
    currency = models.CharField(max_length=5)
    # Per slot.
    reward_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    # Pay for a truthful "it can't be done", and how many of them are reserved for.
    negative_fee_minor = models.BigIntegerField()
    max_negative_outcomes = models.PositiveSmallIntegerField()
    deadline = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bounty", "version"], name="offer_version_is_unique"),
            models.CheckConstraint(
                condition=Q(reward_minor__gt=0, fee_minor__gte=0, negative_fee_minor__gte=0), name="offer_amounts_are_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"offer {self.version} of {self.bounty_id}"


class Spend(models.Model):
    """What an API key committed by one funding or raise; counted against its daily limit, refunded later or not."""

    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    bounty = models.ForeignKey(Bounty, null=True, blank=True, on_delete=models.PROTECT, related_name="spends")
    # Or this one. No foreign key upwards: research bounties live above this app.
    research_bounty_id = models.UUIDField(null=True, blank=True)
    offer_version = models.PositiveSmallIntegerField()
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    spent_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bounty", "offer_version"], name="offer_is_spent_once"),
            models.UniqueConstraint(fields=["research_bounty_id", "offer_version"], name="research_budget_is_spent_once"),
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="spend_is_not_negative"),
            models.CheckConstraint(
                condition=Q(bounty__isnull=True, research_bounty_id__isnull=False)
                | Q(bounty__isnull=False, research_bounty_id__isnull=True),
                name="spend_is_for_one_bounty",
            ),
        ]
        indexes = [models.Index(fields=["key", "spent_at"], name="spend_of_key_by_time")]

    def __str__(self) -> str:
        return f"spend of {self.bounty_id or self.research_bounty_id}, offer {self.offer_version}"


class Settlement(models.Model):
    """One verdict turned into transfers; the insert is the lock."""

    class Kind(models.TextChoices):
        ACCEPTED = "ACCEPTED", "reward paid"
        NEGATIVE = "NEGATIVE", "truthful negative outcome paid"
        UNPAID = "UNPAID", "nothing paid to the worker"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    verdict = models.OneToOneField(Verdict, on_delete=models.PROTECT, related_name="settlement")
    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, related_name="settlement")
    bounty = models.ForeignKey(Bounty, on_delete=models.PROTECT, related_name="settlements")
    kind = models.CharField(max_length=8, choices=Kind)
    worker_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    # The signed receipt (see verification.receipts), issued once.
    receipt = models.JSONField(null=True, blank=True)
    settled_at = models.DateTimeField()
    # When challenge window and deposit maturity will have passed, and when the money then became payable.
    matures_at = models.DateTimeField()
    matured_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(worker_minor__gte=0, fee_minor__gte=0), name="settlement_amounts_are_not_negative"),
            models.CheckConstraint(
                condition=(Q(kind="UNPAID", worker_minor=0, fee_minor=0) | (~Q(kind="UNPAID") & Q(worker_minor__gt=0))),
                name="unpaid_settlement_moves_nothing",
            ),
        ]
        indexes = [
            models.Index(fields=["matures_at"], condition=Q(matured_at__isnull=True) & ~Q(kind="UNPAID"), name="settlement_to_mature")
        ]

    def __str__(self) -> str:
        return ids.encode("set", self.pk)


class Appeal(models.Model):
    """A worker's request that another person looks at a rejection."""

    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, primary_key=True, related_name="appeal")
    untrusted_statement = models.CharField(max_length=1000, blank=True, default="")
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"appeal of {self.submission_id}"
