"""Held funds: money set aside for a bounty, and the bonds and stakes that back somebody's word."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tasks import ids
from tasks.models import Mode


class Hold(models.Model):
    """Money set aside: HELD, then CAPTURED, VOIDED or EXPIRED. Funded = captured + voided + held at every instant."""

    class Kind(models.TextChoices):
        SLOT = "SLOT", "the reward, fee and verifier fees of one slot"
        RESERVE = "RESERVE", "the reserve for truthful negative outcomes"
        BUDGET = "BUDGET", "the whole budget of a research bounty"

    class Status(models.TextChoices):
        HELD = "HELD", "held"
        CAPTURED = "CAPTURED", "captured"
        VOIDED = "VOIDED", "voided"
        EXPIRED = "EXPIRED", "expired"

    EDGES = {
        Status.HELD: {Status.CAPTURED, Status.VOIDED, Status.EXPIRED},
        Status.CAPTURED: set(),
        Status.VOIDED: set(),
        Status.EXPIRED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    mode = models.CharField(max_length=4, choices=Mode)
    # No foreign keys upwards: bounties and agents live above this app.
    bounty_id = models.UUIDField(db_index=True)
    agent_id = models.UUIDField()
    kind = models.CharField(max_length=7, choices=Kind)
    slot_number = models.PositiveSmallIntegerField(default=0)
    currency = models.CharField(max_length=5)
    amount_minor = models.BigIntegerField()
    captured_minor = models.BigIntegerField(default=0)
    returned_minor = models.BigIntegerField(default=0)
    status = models.CharField(max_length=8, choices=Status, default=Status.HELD)
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bounty_id", "kind", "slot_number"], name="slot_has_one_hold"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="hold_amount_is_positive"),
            models.CheckConstraint(condition=Q(captured_minor__gte=0, returned_minor__gte=0), name="hold_parts_are_not_negative"),
            models.CheckConstraint(
                condition=Q(amount_minor__gte=F("captured_minor") + F("returned_minor")), name="hold_pays_no_more_than_it_has"
            ),
            models.CheckConstraint(
                condition=Q(status="HELD") | Q(amount_minor=F("captured_minor") + F("returned_minor")),
                name="ended_hold_keeps_no_money",
            ),
            models.CheckConstraint(condition=Q(status="HELD") | Q(ended_at__isnull=False), name="ended_hold_has_its_time"),
        ]
        indexes = [models.Index(fields=["agent_id"], condition=Q(status="HELD"), name="hold_held_for_agent")]

    def __str__(self) -> str:
        return f"hold of bounty {self.bounty_id}, slot {self.slot_number}"


class Bond(models.Model):
    """Money that backs somebody's word (a candidate, a challenge): PLACED, then RETURNED where it came from, or LOST."""

    class Status(models.TextChoices):
        PLACED = "PLACED", "placed"
        RETURNED = "RETURNED", "returned"
        LOST = "LOST", "lost"

    EDGES = {Status.PLACED: {Status.RETURNED, Status.LOST}, Status.RETURNED: set(), Status.LOST: set()}

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    mode = models.CharField(max_length=4, choices=Mode)
    # What it backs, e.g. "cnd_0190...": one bond for one thing.
    subject = models.CharField(max_length=40, unique=True)
    # The ledger account it came from, and goes back to.
    source_path = models.CharField(max_length=120)
    currency = models.CharField(max_length=5)
    amount_minor = models.BigIntegerField()
    status = models.CharField(max_length=8, choices=Status, default=Status.PLACED)
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="bond_amount_is_positive"),
            models.CheckConstraint(condition=Q(status="PLACED") | Q(ended_at__isnull=False), name="ended_bond_has_its_time"),
        ]

    def __str__(self) -> str:
        return f"bond of {self.subject}"


class Stake(models.Model):
    """What backs a GPU owner's reports: it fills from the pay of his runs, and a forged one loses all of it."""

    mode = models.CharField(max_length=4, choices=Mode)
    # No foreign keys upwards, as in `Hold`.
    worker_id = models.UUIDField()
    currency = models.CharField(max_length=5)
    # What ever went in, came back to its owner, and was lost; what is left backs him now.
    filled_minor = models.BigIntegerField(default=0)
    withdrawn_minor = models.BigIntegerField(default=0)
    lost_minor = models.BigIntegerField(default=0)
    withdrawal_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mode", "worker_id", "currency"], name="worker_has_one_stake_a_currency"),
            models.CheckConstraint(
                condition=Q(withdrawn_minor__gte=0, lost_minor__gte=0, filled_minor__gte=F("withdrawn_minor") + F("lost_minor")),
                name="stake_gives_no_more_than_it_has",
            ),
        ]

    def __str__(self) -> str:
        return f"stake of worker {self.worker_id} in {self.currency}"

    @property
    def left_minor(self) -> int:
        """What backs its owner now."""
        return self.filled_minor - self.withdrawn_minor - self.lost_minor
