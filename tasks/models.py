"""The work itself, free of money: Task, Slot, Claim, Submission, Evidence and WorkerProfile."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks import ids, leases


class Mode(models.TextChoices):
    """Test and live never meet: every row that could touch money carries its mode."""

    TEST = "test", "test"
    LIVE = "live", "live"


class Task(models.Model):
    """What is to be done and how it is judged. It has no price."""

    class Status(models.TextChoices):
        DRAFT = "DRAFT", "draft: not listed yet"
        LISTED = "LISTED", "listed: may be claimed"
        CLOSED = "CLOSED", "closed: no new claims"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    mode = models.CharField(max_length=4, choices=Mode)
    kind = models.CharField(max_length=24)
    status = models.CharField(max_length=8, choices=Status, default=Status.DRAFT)
    # The owner's user id: nobody claims his own task.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    title = models.CharField(max_length=200)
    terms = models.JSONField()
    latitude = models.FloatField()
    longitude = models.FloatField()
    within_m = models.PositiveIntegerField()
    country = models.CharField(max_length=2)
    # H3 cell (resolution tasks.geo.LISTING_RESOLUTION) of the place, as a signed 64-bit integer, for "near me".
    h3_cell = models.BigIntegerField()
    opens_at = models.DateTimeField()
    # The terms' own, or later where the poster has raised the deadline since; evidence counts until this.
    closes_at = models.DateTimeField()
    task_time_s = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["h3_cell", "closes_at"], condition=Q(status="LISTED"), name="task_listed_near")]
        constraints = [
            models.CheckConstraint(condition=Q(closes_at__gt=models.F("opens_at")), name="task_closes_after_it_opens"),
            models.CheckConstraint(condition=Q(latitude__range=(-90, 90), longitude__range=(-180, 180)), name="task_place_is_on_earth"),
        ]

    def __str__(self) -> str:
        return ids.encode("tsk", self.pk)


class Slot(leases.Leased):
    """One place for one accepted submission; its claim is a lease on this row."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="slots")
    number = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="slot_number_is_unique_in_its_task")]
        indexes = [models.Index(fields=["lease_until"], condition=Q(lease_state="LEASED"), name="slot_lease_ends")]

    def __str__(self) -> str:
        return f"slot {self.number} of {self.task_id}"


class WorkerProfile(models.Model):
    """What the market knows of one who earns: a record, not a person's papers."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, primary_key=True, related_name="worker_profile")
    # A test worker sees and does test tasks only, a live worker live ones only.
    mode = models.CharField(max_length=4, choices=Mode, default=Mode.TEST)
    country = models.CharField(max_length=2, blank=True, default="")
    accepted_count = models.PositiveIntegerField(default=0)
    rejected_count = models.PositiveIntegerField(default=0)
    expired_count = models.PositiveIntegerField(default=0)
    is_suspended = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"worker {self.pk}"


class Claim(models.Model):
    """A time-limited exclusive right to one slot."""

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE", "active"
        SUBMITTED = "SUBMITTED", "submitted"
        DROPPED = "DROPPED", "dropped"
        EXPIRED = "EXPIRED", "expired"

    # ACTIVE again once from SUBMITTED: the one retake.
    EDGES = {
        Status.ACTIVE: {Status.SUBMITTED, Status.DROPPED, Status.EXPIRED},
        Status.SUBMITTED: {Status.ACTIVE},
        Status.DROPPED: set(),
        Status.EXPIRED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="claims")
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="claims")
    # The slot's fencing token at the moment of the claim.
    slot_token = models.BigIntegerField()
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="claims")
    status = models.CharField(max_length=9, choices=Status, default=Status.ACTIVE)
    terms_hash = models.CharField(max_length=64)
    expires_at = models.DateTimeField()
    is_extended = models.BooleanField(default=False)
    is_retake_used = models.BooleanField(default=False)
    # The claim's position coarsened to an H3 cell: a worker's exact place is never kept before the shutter.
    from_h3_cell = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # When it let its slot go: dropped, expired, or its submission's verdict became final.
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slot"], condition=Q(status="ACTIVE"), name="slot_has_one_active_claim"),
            models.UniqueConstraint(fields=["slot", "slot_token"], name="claim_token_is_unique_in_its_slot"),
            models.UniqueConstraint(
                fields=["task", "worker"], condition=Q(status__in=("ACTIVE", "SUBMITTED")), name="worker_has_one_open_claim_per_task"
            ),
        ]
        indexes = [
            models.Index(fields=["worker", "status"], name="claim_by_worker_and_status"),
            models.Index(fields=["expires_at"], condition=Q(status="ACTIVE"), name="claim_to_expire"),
        ]

    def __str__(self) -> str:
        return ids.encode("clm", self.pk)


class Submission(models.Model):
    """What the worker hands in under a claim: evidence, or a truthful "can't be done"."""

    class Kind(models.TextChoices):
        EVIDENCE = "EVIDENCE", "evidence"
        NEGATIVE = "NEGATIVE", "it can't be done"

    class NegativeReason(models.TextChoices):
        CLOSED = "closed", "closed"
        NOT_FOUND = "not_found", "not there"
        UNSAFE = "unsafe", "unsafe"
        NO_ACCESS = "no_access", "no access"

    class Status(models.TextChoices):
        RECEIVED = "RECEIVED", "received"
        CHECKING = "CHECKING", "checking"
        IN_REVIEW = "IN_REVIEW", "in review"
        ACCEPTED = "ACCEPTED", "accepted"
        REJECTED = "REJECTED", "rejected"
        INCONCLUSIVE = "INCONCLUSIVE", "inconclusive"
        APPEALED = "APPEALED", "appealed"

    EDGES = {
        Status.RECEIVED: {Status.CHECKING},
        Status.CHECKING: {Status.IN_REVIEW, Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE},
        Status.IN_REVIEW: {Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE},
        Status.REJECTED: {Status.APPEALED},
        Status.APPEALED: {Status.ACCEPTED, Status.REJECTED},
        Status.ACCEPTED: set(),
        Status.INCONCLUSIVE: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    claim = models.ForeignKey(Claim, on_delete=models.PROTECT, related_name="submissions")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="submissions")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="submissions")
    # 1, or 2 for the retake.
    number = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.EVIDENCE)
    negative_reason = models.CharField(max_length=10, choices=NegativeReason, blank=True, default="")
    status = models.CharField(max_length=12, choices=Status, default=Status.RECEIVED)
    reported_latitude = models.FloatField(null=True, blank=True)
    reported_longitude = models.FloatField(null=True, blank=True)
    reported_accuracy_m = models.FloatField(null=True, blank=True)
    reported_captured_at = models.DateTimeField(null=True, blank=True)
    # A worker's words: shown to people and models as data only.
    untrusted_note = models.CharField(max_length=500, blank=True, default="")
    received_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    # Set with a rejection: until when it may be retaken, and appealed.
    retake_until = models.DateTimeField(null=True, blank=True)
    appeal_until = models.DateTimeField(null=True, blank=True)
    # When nothing could change the verdict any more and the slot was let go.
    final_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["claim", "number"], name="claim_has_each_submission_number_once"),
            models.CheckConstraint(condition=Q(number__in=(1, 2)), name="claim_has_one_retake_at_most"),
            models.CheckConstraint(
                condition=Q(kind="EVIDENCE", negative_reason="") | (Q(kind="NEGATIVE") & ~Q(negative_reason="")),
                name="negative_submission_names_its_reason",
            ),
            models.CheckConstraint(condition=~Q(status="REJECTED") | Q(appeal_until__isnull=False), name="rejection_has_an_appeal_window"),
            models.CheckConstraint(
                condition=Q(final_at__isnull=True) | Q(status__in=("ACCEPTED", "REJECTED", "INCONCLUSIVE")),
                name="final_submission_is_decided",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "received_at"], name="submission_by_status"),
            models.Index(fields=["appeal_until"], condition=Q(status="REJECTED", final_at__isnull=True), name="submission_to_finalise"),
        ]

    def __str__(self) -> str:
        return ids.encode("sub", self.pk)


class Evidence(models.Model):
    """One immutable file of a submission, by SHA-256. The original is sealed; people see only the re-encoded copy."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="evidence")
    sha256 = models.CharField(max_length=64, db_index=True)
    byte_count = models.PositiveIntegerField()
    media_type = models.CharField(max_length=32)
    width_px = models.PositiveIntegerField()
    height_px = models.PositiveIntegerField()
    # Digest of the re-encoded copy without metadata; content-addressed like the original.
    display_sha256 = models.CharField(max_length=64)
    # The phone's own digest of the file before it was shrunk, if it sent one.
    reported_original_sha256 = models.CharField(max_length=64, blank=True, default="")
    # EXIF facts as read: they may contradict, never confirm.
    untrusted_exif = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["submission", "sha256"], name="submission_has_each_file_once")]

    def __str__(self) -> str:
        return ids.encode("evd", self.pk)


class Setback(models.Model):
    """A row that failed in a sweep, or is worked on: it rests until ``next_try_at``, so that the rows behind it get their turn."""

    sweep = models.CharField(max_length=40)
    # The primary key of the row, as text: every sweep goes over another table.
    row = models.CharField(max_length=40)
    tries = models.PositiveIntegerField()
    # The name of the exception (the whole of it is in the log), or "unfinished": it is worked on, or its process was killed.
    error = models.CharField(max_length=80)
    next_try_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sweep", "row"], name="sweep_notes_a_row_once")]

    def __str__(self) -> str:
        return f"{self.sweep}: {self.row} failed {self.tries} times"
