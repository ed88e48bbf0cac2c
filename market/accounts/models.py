"""Who acts: users (owners, workers, operators), agents, their API keys, and the first answers kept for those keys."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks import ids
from tasks.models import Mode


class User(AbstractUser):
    """An account of a person. Agents belong to one; a worker is one with a `tasks.models.WorkerProfile`."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    # An anonymous worker has no password yet; this opens the account again on another phone.
    recovery_code_hash = models.CharField(max_length=64, blank=True, default="")
    is_anonymous_worker = models.BooleanField(default=False)

    def __str__(self) -> str:
        return ids.encode("usr", self.pk)


class Agent(models.Model):
    """Who posts and pays: a program, owned by an account."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="agents")
    name = models.CharField(max_length=80)
    mode = models.CharField(max_length=4, choices=Mode)
    is_suspended = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return ids.encode("agt", self.pk)


class ApiKey(models.Model):
    """A bearer secret with scopes and spend limits; only its SHA-256 is kept (the secret has 256 random bits)."""

    class Scope(models.TextChoices):
        AGENT = "agent", "post and pay"
        WORKER = "worker", "claim and earn"
        LEASE_VISION = "lease:vision", "take vision runs"
        LEASE_REPLAY = "lease:replay", "take replay runs"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_keys")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="api_keys")
    mode = models.CharField(max_length=4, choices=Mode)
    scope = models.CharField(max_length=12, choices=Scope)
    name = models.CharField(max_length=80)
    # The first characters, so that its owner can tell keys apart.
    visible_prefix = models.CharField(max_length=16)
    secret_sha256 = models.CharField(max_length=64, unique=True)
    # An operator's word that the machine behind a lease key may see sealed originals; never given to strangers.
    is_trusted = models.BooleanField(default=False)
    limit_currency = models.CharField(max_length=5, default="USD")
    limit_per_bounty_minor = models.BigIntegerField(null=True, blank=True)
    limit_per_day_minor = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(scope="agent") | Q(agent__isnull=False), name="agent_key_has_an_agent"),
            models.CheckConstraint(condition=Q(is_trusted=False) | Q(scope__startswith="lease:"), name="only_lease_keys_are_trusted"),
        ]

    def __str__(self) -> str:
        return ids.encode("key", self.pk)


class IdempotentRequest(models.Model):
    """The first answer to a POST with an Idempotency-Key; kept for ever because it may have moved money."""

    # "key:<api key id>", "lease:<api key id>" or "session:<user id>".
    scope = models.CharField(max_length=60)
    key = models.CharField(max_length=120)
    # For people who look into a row; what must agree is in the digest.
    method_and_path = models.CharField(max_length=300)
    # SHA-256 over method, path, query and body.
    request_sha256 = models.CharField(max_length=64)
    status_code = models.PositiveSmallIntegerField()
    # JSON text, byte for byte as it was answered first.
    response_body = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scope", "key"], name="idempotency_key_is_used_once")]
        indexes = [models.Index(fields=["created_at"], condition=Q(scope__startswith="lease:"), name="lease_answer_to_forget")]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
