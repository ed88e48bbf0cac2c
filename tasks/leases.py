"""The one queue of record: rows that one holder works on until ``lease_until``, with a fencing token."""

from django.db import models
from django.db.models.functions import Now


class LeaseState(models.TextChoices):
    READY = "READY", "ready: waits for a holder"
    LEASED = "LEASED", "leased: a holder works on it until lease_until"
    DONE = "DONE", "done"
    DEAD = "DEAD", "given up: attempts used or withdrawn"


class Leased(models.Model):
    """Abstract row of work. Every hand-out raises ``token``; a result counts only with the newest token.

    ``lease_until`` is compared with the database's clock alone. A LEASED row without ``lease_until`` is held
    without a limit (a slot whose submission waits for its verdict).
    """

    lease_state = models.CharField(max_length=8, choices=LeaseState, default=LeaseState.READY)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_holder = models.CharField(max_length=80, blank=True, default="")
    token = models.BigIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    available_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
