"""What happened: the gap-free event feed, which is also the outbox of webhooks.

Agents are named by string: events and accounts stand side by side and do not import each other.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks import ids, leases


class Event(models.Model):
    """One change of state, written in the transaction that made it.

    ``seq`` is given after commit by one sequencer (`market.events.feed.sequence`), 1, 2, 3 ... per agent without a
    gap, so a reader that saw n has seen everything up to n.
    """

    id = models.BigAutoField(primary_key=True)
    public_id = models.UUIDField(default=ids.new_id, unique=True, editable=False)
    agent = models.ForeignKey("accounts.Agent", on_delete=models.PROTECT, related_name="events")
    seq = models.BigIntegerField(null=True, blank=True)
    type = models.CharField(max_length=48)
    subject = models.CharField(max_length=40)
    # Who did it: "agent", "worker", "machine", "reviewer", "poster", "clock", "operator".
    actor = models.CharField(max_length=16)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "seq"], name="event_seq_is_unique_in_its_feed")]
        indexes = [models.Index(fields=["id"], condition=Q(seq__isnull=True), name="event_to_sequence")]

    def __str__(self) -> str:
        return ids.encode("evt", self.public_id)


class FeedCounter(models.Model):
    """The last sequence number given in an agent's feed."""

    agent = models.OneToOneField("accounts.Agent", on_delete=models.PROTECT, primary_key=True, related_name="+")
    last_seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"feed of {self.agent_id}: {self.last_seq}"


class WebhookEndpoint(models.Model):
    """Where an agent wants its events, and the secret that signs them (Standard Webhooks 1.1)."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    agent = models.ForeignKey("accounts.Agent", on_delete=models.PROTECT, related_name="webhook_endpoints")
    url = models.URLField(max_length=500)
    secret = models.CharField(max_length=80)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return ids.encode("whe", self.pk)


class Delivery(leases.Leased):
    """The sending of one event to one endpoint; DEAD after three days of refusals, resent on request."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.PROTECT, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "event"], name="event_goes_to_an_endpoint_once")]
        indexes = [
            models.Index(fields=["endpoint", "available_at", "id"], condition=Q(lease_state="READY"), name="delivery_ready_at_endpoint")
        ]

    def __str__(self) -> str:
        return ids.encode("dlv", self.pk)


class DeliveryAttempt(models.Model):
    """One attempt at a delivery, kept as a log."""

    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, related_name="attempt_log")
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    # A name for the failure: "refused_address", "timeout", "connection", "redirect", "status", or "" for success.
    failure = models.CharField(max_length=24, blank=True, default="")
    duration_ms = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"attempt on {self.delivery_id}: {self.status_code or self.failure}"
