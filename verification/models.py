"""What is true: judging cases, vision runs, check runs, fingerprints, verdicts and people's reviews. No money."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks import ids, leases
from tasks.models import Evidence, Submission, WorkerProfile


class Case(leases.Leased):
    """The judging of one submission: the row that is leased until a verdict or a review stands."""

    class Stage(models.TextChoices):
        CHECKS = "CHECKS", "first checks"
        VISION = "VISION", "waits for the vision worker's readings"
        DECIDE = "DECIDE", "readings are in"
        REVIEW = "REVIEW", "waits for a person"
        DECIDED = "DECIDED", "has its verdict"

    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, primary_key=True, related_name="case")
    stage = models.CharField(max_length=8, choices=Stage, default=Stage.CHECKS)
    # The bounty's limit on P(bad | accepted) and the price class it came from; numbers only, no money here.
    max_false_accept = models.FloatField()
    poster_review_window_s = models.PositiveIntegerField(default=0)
    # H(terms, offer) of the claim; every verdict of this case carries it.
    terms_hash = models.CharField(max_length=64)
    # What the checks came to: "ACCEPTED" with a poster's review window waits in stage REVIEW for the poster or for
    # silence, without a Review row; blank in stage REVIEW means that a person must look.
    machine_outcome = models.CharField(max_length=12, blank=True, default="", choices=[("ACCEPTED", "accepted"), ("REJECTED", "rejected")])
    machine_decided_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(max_false_accept__gt=0, max_false_accept__lt=1), name="case_limit_is_a_share"),
        ]
        indexes = [
            models.Index(fields=["available_at"], condition=Q(lease_state="READY", stage__in=("CHECKS", "DECIDE")), name="case_to_advance"),
            models.Index(
                fields=["machine_decided_at"], condition=Q(stage="REVIEW", machine_outcome="ACCEPTED"), name="case_waits_for_poster"
            ),
        ]

    def __str__(self) -> str:
        return f"case of {self.submission_id}"


class VisionRun(leases.Leased):
    """One forward pass asked of a GPU worker about one evidence file; handed out and taken back by /v1/leases."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="vision_runs")
    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="vision_runs")
    # {"phrases": [...]}: the closed questions the terms were compiled into.
    params = models.JSONField()
    # Readings as the worker sent them, validated by schema: scores, embeddings, labels. Never a verdict.
    readings = models.JSONField(null=True, blank=True)
    model_hash = models.CharField(max_length=64, blank=True, default="")
    preprocessing = models.CharField(max_length=40, blank=True, default="")
    # The API key that leased it: an input's signed URL is bound to lease, token and key.
    leased_by_key = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "evidence"], name="case_reads_each_evidence_once"),
            models.CheckConstraint(condition=~Q(lease_state="DONE") | Q(readings__isnull=False), name="done_vision_run_has_readings"),
        ]
        indexes = [models.Index(fields=["available_at"], condition=Q(lease_state="READY"), name="vision_run_ready")]

    def __str__(self) -> str:
        return ids.encode("run", self.pk)


class Fingerprint(models.Model):
    """What one evidence file looks like, for finding copies over all submissions and accounts.

    Rows are inserted one transaction at a time (see `verification.fingerprints`): ``id`` is the order in which they
    became visible, so of two equal pictures exactly one finds the other before it.
    """

    id = models.BigAutoField(primary_key=True)
    evidence = models.OneToOneField(Evidence, on_delete=models.PROTECT, related_name="fingerprint")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=4)
    sha256 = models.CharField(max_length=64, db_index=True)
    pixel_sha256 = models.CharField(max_length=64, db_index=True)
    # PDQ, 256 bits, and its quality 0..100 (below 50 it must not be compared).
    pdq = models.BinaryField(max_length=32)
    pdq_quality = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"fingerprint of {self.evidence_id}"


class CopyDescriptor(models.Model):
    """A learned description of one evidence file; ``id`` is an order of visibility as in `Fingerprint`."""

    id = models.BigAutoField(primary_key=True)
    evidence = models.OneToOneField(Evidence, on_delete=models.PROTECT, related_name="copy_descriptor")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=4)
    # Only descriptors of one model can be compared.
    model_hash = models.CharField(max_length=64)
    dimension = models.PositiveSmallIntegerField()
    # Little-endian float16, of unit length.
    vector = models.BinaryField(max_length=4096)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["model_hash", "dimension", "mode", "id"], name="descriptor_by_model")]

    def __str__(self) -> str:
        return f"descriptor of {self.evidence_id}"


class CheckRun(models.Model):
    """One execution of one check on one submission."""

    class Outcome(models.TextChoices):
        PASS = "PASS", "pass"
        FAIL = "FAIL", "fail"
        INCONCLUSIVE = "INCONCLUSIVE", "inconclusive"
        NOT_APPLICABLE = "NOT_APPLICABLE", "not applicable"
        ERROR = "ERROR", "error of ours: tried again"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="check_runs")
    check_name = models.CharField(max_length=40)
    check_version = models.PositiveSmallIntegerField()
    # The published criterion it speaks for, e.g. "in_place" or "shows:0".
    criterion = models.CharField(max_length=24)
    outcome = models.CharField(max_length=14, choices=Outcome)
    reason_code = models.CharField(max_length=40, blank=True, default="")
    score = models.FloatField(null=True, blank=True)
    # Numbers and enums only; never worker bytes.
    facts = models.JSONField(default=dict, blank=True)
    cost_ms = models.FloatField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["submission", "check_name", "check_version", "criterion"], name="check_runs_once_per_version")
        ]

    def __str__(self) -> str:
        return f"{self.check_name} v{self.check_version} on {self.submission_id}: {self.outcome}"


class Verdict(models.Model):
    """A decision on a submission with the criteria it rests on. A later round (review, appeal) is a new row."""

    class Outcome(models.TextChoices):
        ACCEPTED = "ACCEPTED", "accepted"
        REJECTED = "REJECTED", "rejected"
        INCONCLUSIVE = "INCONCLUSIVE", "inconclusive"

    class Decider(models.TextChoices):
        MACHINE = "MACHINE", "machine"
        REVIEWER = "REVIEWER", "reviewer"
        POSTER = "POSTER", "poster"
        SILENCE = "SILENCE", "poster's silence"
        APPEAL = "APPEAL", "appeal"
        CLOCK = "CLOCK", "clock: no person decided in time"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="verdicts")
    round = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=12, choices=Outcome)
    decided_by = models.CharField(max_length=8, choices=Decider)
    # [{"criterion": "in_place", "outcome": "PASS", "reason_code": ""}, ...]: enums and numbers only.
    criteria = models.JSONField()
    terms_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    # Set in the transaction in which market.bounties moved the submission by this verdict.
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["submission", "round"], name="submission_has_one_verdict_per_round")]
        indexes = [models.Index(fields=["created_at"], condition=Q(applied_at__isnull=True), name="verdict_to_apply")]

    def __str__(self) -> str:
        return ids.encode("vrd", self.pk)


class Review(leases.Leased):
    """A person's reading of a case: first look, appeal or audit."""

    class Kind(models.TextChoices):
        FIRST = "FIRST", "first look"
        APPEAL = "APPEAL", "appeal"
        AUDIT = "AUDIT", "audit of an automatic acceptance"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="reviews")
    kind = models.CharField(max_length=6, choices=Kind)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decision = models.CharField(max_length=12, choices=Verdict.Outcome, blank=True, default="")
    # The published criterion a rejection names, and the reviewer's words to the worker.
    criterion = models.CharField(max_length=24, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    # When the clock decides instead (see `verification.reviews`); null where no money waits.
    due_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["submission", "kind"], name="submission_has_one_review_of_a_kind"),
            models.CheckConstraint(condition=Q(decision="") | Q(reviewer__isnull=False), name="decided_review_has_a_reviewer"),
            models.CheckConstraint(condition=~Q(decision="REJECTED") | ~Q(criterion=""), name="rejecting_review_names_a_criterion"),
            models.CheckConstraint(condition=Q(kind="AUDIT") | Q(due_at__isnull=False), name="review_that_keeps_money_has_a_limit"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(decision="", lease_state__in=("READY", "LEASED")), name="review_to_time_out")
        ]

    def __str__(self) -> str:
        return ids.encode("rev", self.pk)
