"""Facts of research bounties: the task and its tip chain, candidates, runs, hosts, trusted jobs, findings and ideas."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tasks import ids, leases
from tasks.models import Mode
from verification.replay import classes


class Tree(models.Model):
    """The files of one commit, by the digest of their canonical bytes (see `verification.replay.trees`). Strangers' text."""

    digest = models.CharField(primary_key=True, max_length=64)
    # A text for each path.
    untrusted_files = models.JSONField()
    byte_count = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"tree {self.digest[:12]}"


class DataFile(models.Model):
    """A data file that somebody handed in, kept by its SHA-256 (see `verification.research.files`)."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64)
    byte_count = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "sha256"], name="owner_hands_in_each_data_file_once")]

    def __str__(self) -> str:
        return f"data file {self.sha256[:12]}"


class ResearchTask(models.Model):
    """A training repository and how its candidates are judged. It has no price."""

    class Status(models.TextChoices):
        DRAFT = "DRAFT", "draft: takes no candidates yet"
        LISTED = "LISTED", "listed: takes candidates"
        CLOSED = "CLOSED", "closed: no new candidates"

    EDGES = {Status.DRAFT: {Status.LISTED, Status.CLOSED}, Status.LISTED: {Status.CLOSED}, Status.CLOSED: set()}

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    mode = models.CharField(max_length=4, choices=Mode)
    # The poster's user id: nobody submits to, replays or challenges his own task.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    title = models.CharField(max_length=200)
    description = models.CharField(max_length=4000, blank=True, default="")
    # `verification.replay.spec.Spec` as JSON; immutable from the funding on.
    spec = models.JSONField()
    spec_digest = models.CharField(max_length=64)
    # What its prices ask for at least: the share of runs that are audited, and how many random segments of each.
    audit_share = models.FloatField()
    audited_segments = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=8, choices=Status, default=Status.DRAFT)
    closes_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(audit_share__range=(0, 1)), name="audit_share_is_a_probability")]
        indexes = [models.Index(fields=["closes_at"], condition=Q(status="LISTED"), name="research_task_listed")]

    def __str__(self) -> str:
        return ids.encode("tsk", self.pk)


class Tip(models.Model):
    """One block of a task's chain of accepted commits; number 0 is the base. The newest one that stands is the tip."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(ResearchTask, on_delete=models.PROTECT, related_name="tips")
    number = models.PositiveIntegerField()
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    tree = models.ForeignKey(Tree, on_delete=models.PROTECT, related_name="+")
    candidate = models.OneToOneField("Candidate", null=True, blank=True, on_delete=models.PROTECT, related_name="tip")
    created_at = models.DateTimeField(db_default=Now())
    # By a Finding: a commit that turned out to cheat is no tip any more, what was paid for it stands.
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="tip_number_is_unique_in_its_task"),
            models.CheckConstraint(
                condition=Q(number=0) | Q(candidate__isnull=False, parent__isnull=False), name="later_tip_is_a_candidate"
            ),
            models.CheckConstraint(condition=~Q(number=0) | Q(withdrawn_at__isnull=True), name="base_is_never_withdrawn"),
        ]

    def __str__(self) -> str:
        return f"tip {self.number} of {self.task_id}"


class Host(models.Model):
    """A GPU owner's machine as registered, and its record."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="hosts")
    mode = models.CharField(max_length=4, choices=Mode)
    # Its owner's word for it.
    untrusted_name = models.CharField(max_length=80)
    # `verification.replay.classes.ClassKey.text`, and the hardware family in it.
    class_text = models.CharField(max_length=classes.MAX_TEXT)
    hardware = models.CharField(max_length=80)
    # The sandbox level it reported to have reached.
    reported_level = models.CharField(max_length=12)
    untrusted_facts = models.JSONField(default=dict, blank=True)
    # Consecutive valid results; an invalid one starts again from 0.
    valid_count = models.PositiveIntegerField(default=0)
    invalid_count = models.PositiveIntegerField(default=0)
    calibrated_at = models.DateTimeField(null=True, blank=True)
    is_suspended = models.BooleanField(default=False)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "mode", "untrusted_name", "class_text"], name="owner_registers_a_host_once")
        ]
        indexes = [models.Index(fields=["class_text", "last_seen_at"], name="host_by_class")]

    def __str__(self) -> str:
        return ids.encode("hst", self.pk)


class Candidate(leases.Leased):
    """A stranger's commit: base + the text of allow-listed files, and its way to a verdict. The row is leased while it is advanced."""

    class Status(models.TextChoices):
        SEALED = "SEALED", "sealed: only its hash is known"
        RECEIVED = "RECEIVED", "received"
        SMOKE = "SMOKE", "smoke run"
        WAITING = "WAITING", "waits for its turn"
        REPLAYING = "REPLAYING", "replayed"
        ACCEPTED = "ACCEPTED", "accepted: it is a tip"
        REJECTED = "REJECTED", "rejected"
        INCONCLUSIVE = "INCONCLUSIVE", "inconclusive"
        LAPSED = "LAPSED", "never revealed"

    EDGES = {
        Status.SEALED: {Status.RECEIVED, Status.LAPSED},
        Status.RECEIVED: {Status.SMOKE, Status.INCONCLUSIVE},
        Status.SMOKE: {Status.WAITING, Status.REJECTED, Status.INCONCLUSIVE},
        # Back to RECEIVED: rebased on a newer tip, which makes it another tree.
        Status.WAITING: {Status.REPLAYING, Status.RECEIVED, Status.REJECTED, Status.INCONCLUSIVE},
        Status.REPLAYING: {Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE, Status.RECEIVED},
        Status.ACCEPTED: set(),
        Status.REJECTED: set(),
        Status.INCONCLUSIVE: set(),
        Status.LAPSED: set(),
    }
    UNDECIDED = (Status.RECEIVED, Status.SMOKE, Status.WAITING, Status.REPLAYING)
    DECIDED = (Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE)

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    task = models.ForeignKey(ResearchTask, on_delete=models.PROTECT, related_name="candidates")
    claimant = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    # The order of receipt, made under the task's lock; a pre-commit has its place from the moment it was sealed.
    place = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=Status, default=Status.RECEIVED)
    # SHA-256 over salt and tree, if it was announced before; until when it must be revealed.
    sealed_sha256 = models.CharField(max_length=64, blank=True, default="")
    reveal_until = models.DateTimeField(null=True, blank=True)
    # The tip it is judged against, and its own tree on that tip; both move when it is rebased.
    parent = models.ForeignKey(Tip, null=True, blank=True, on_delete=models.PROTECT, related_name="candidates")
    tree = models.ForeignKey(Tree, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # As it was sent: the tree it was made for and on.
    sent_parent = models.ForeignKey(Tip, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    sent_tree = models.ForeignKey(Tree, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    rebase_count = models.PositiveSmallIntegerField(default=0)
    reported_gain = models.FloatField(null=True, blank=True)
    untrusted_note = models.CharField(max_length=500, blank=True, default="")
    # The hardware class its pairs run on, and the secret-pool seeds drawn for it, once it is its turn.
    class_text = models.CharField(max_length=classes.MAX_TEXT, blank=True, default="")
    seed_indexes = models.JSONField(default=list, blank=True)
    # When what it waits for in this status has taken too long.
    wait_until = models.DateTimeField(null=True, blank=True)
    # `verification.replay.sequential.Sequential` as JSON after the last judged pair.
    test = models.JSONField(null=True, blank=True)
    # The class and test that it won on first, while it is confirmed on a second class (which the two fields above then speak of).
    first_class_text = models.CharField(max_length=classes.MAX_TEXT, blank=True, default="")
    first_test = models.JSONField(null=True, blank=True)
    # Machine codes only (see `verification.research.reasons`).
    reason_code = models.CharField(max_length=40, blank=True, default="")
    gain = models.FloatField(null=True, blank=True)
    shrunk_gain = models.FloatField(null=True, blank=True)
    received_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    # When nothing can change the verdict any more: the challenge window has closed.
    final_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "place"], name="candidate_place_is_unique_in_its_task"),
            models.UniqueConstraint(fields=["task", "sent_tree"], name="task_takes_each_tree_once"),
            models.CheckConstraint(
                condition=Q(status__in=("SEALED", "LAPSED")) | Q(tree__isnull=False, parent__isnull=False),
                name="received_candidate_has_its_tree",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=("ACCEPTED", "REJECTED", "INCONCLUSIVE")) | Q(decided_at__isnull=False),
                name="decided_candidate_has_its_time",
            ),
            models.CheckConstraint(condition=~Q(status="ACCEPTED") | Q(shrunk_gain__gt=0), name="accepted_candidate_gains"),
        ]
        indexes = [
            models.Index(
                fields=["available_at"],
                condition=Q(lease_state="READY", status__in=("RECEIVED", "SMOKE", "WAITING", "REPLAYING")),
                name="candidate_to_advance",
            ),
            models.Index(fields=["claimant", "task"], name="candidate_by_claimant"),
        ]

    def __str__(self) -> str:
        return ids.encode("cnd", self.pk)


class Run(leases.Leased):
    """One training of one tree with one seed on one class, leased to one owner; sealed, revealed, handed in, then judged."""

    class Kind(models.TextChoices):
        CANDIDATE = "CANDIDATE", "a candidate's tree"
        BASELINE = "BASELINE", "the tip's tree"
        CALIBRATION = "CALIBRATION", "a host's first run: a known tree"
        RINGER = "RINGER", "a tree whose outcome is known"
        APPEAL = "APPEAL", "a run that was judged invalid, trained again by the trusted pool"

    class Stage(models.TextChoices):
        OPEN = "OPEN", "waits for, or is with, an owner"
        SEALED = "SEALED", "its report is sealed"
        REVEALED = "REVEALED", "its report is known; checkpoints are asked for"
        HANDED_IN = "HANDED_IN", "everything asked for is here"
        VALID = "VALID", "valid"
        INVALID = "INVALID", "invalid"
        CANCELLED = "CANCELLED", "not needed any more"

    EDGES = {
        Stage.OPEN: {Stage.SEALED, Stage.CANCELLED},
        # An owner who vanishes with a sealed report does not get the run back: it is asked anew, as another replica.
        Stage.SEALED: {Stage.REVEALED, Stage.CANCELLED},
        Stage.REVEALED: {Stage.HANDED_IN, Stage.CANCELLED},
        Stage.HANDED_IN: {Stage.VALID, Stage.INVALID, Stage.CANCELLED},
        Stage.VALID: set(),
        Stage.INVALID: set(),
        Stage.CANCELLED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    # None for a calibration, which belongs to no task.
    task = models.ForeignKey(ResearchTask, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    mode = models.CharField(max_length=4, choices=Mode)
    kind = models.CharField(max_length=11, choices=Kind)
    stage = models.CharField(max_length=9, choices=Stage, default=Stage.OPEN)
    # For whom it was asked first; a baseline is shared with later candidates on the same tip and seed.
    candidate = models.ForeignKey(Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    tip = models.ForeignKey(Tip, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    tree = models.ForeignKey(Tree, on_delete=models.PROTECT, related_name="+")
    spec = models.JSONField()
    # How often this (tree, seed, class) was asked for: a second, unrelated owner is replica 1; a re-run after an invalid one counts on.
    replica = models.PositiveSmallIntegerField(default=0)
    seed_index = models.PositiveIntegerField(default=0)
    seed = models.BigIntegerField()
    class_text = models.CharField(max_length=classes.MAX_TEXT, blank=True, default="")
    hardware = models.JSONField(default=list)
    level = models.CharField(max_length=12)
    is_trusted_only = models.BooleanField(default=False)
    # Whoever leased it, and with which machine and key.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    host = models.ForeignKey(Host, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    leased_by_key = models.UUIDField(null=True, blank=True)
    leased_at = models.DateTimeField(null=True, blank=True)
    # User ids of owners who gave it back: they do not get it again.
    failed_by = models.JSONField(default=list, blank=True)
    # The last one's reason as a code; an owner's word, which decides nothing.
    reported_failure = models.CharField(max_length=40, blank=True, default="")
    reported_step = models.PositiveIntegerField(default=0)
    seal = models.CharField(max_length=64, blank=True, default="")
    sealed_at = models.DateTimeField(null=True, blank=True)
    # `verification.replay.reports.Report` as JSON, checked against its seal.
    report = models.JSONField(null=True, blank=True)
    revealed_at = models.DateTimeField(null=True, blank=True)
    wanted_checkpoints = models.JSONField(default=list, blank=True)
    # Drawn at the reveal; empty: not audited.
    audited_segments = models.JSONField(default=list, blank=True)
    handed_in_at = models.DateTimeField(null=True, blank=True)
    public_score = models.FloatField(null=True, blank=True)
    holdout_score = models.FloatField(null=True, blank=True)
    reason_code = models.CharField(max_length=40, blank=True, default="")
    judged_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["candidate", "tree", "seed_index", "class_text", "replica"],
                condition=Q(kind="CANDIDATE"),
                name="candidate_run_is_asked_once",
            ),
            models.UniqueConstraint(
                fields=["tip", "seed_index", "class_text", "replica"], condition=Q(kind="BASELINE"), name="baseline_is_asked_once"
            ),
            models.CheckConstraint(condition=Q(stage__in=("OPEN", "CANCELLED")) | ~Q(seal=""), name="run_is_sealed_before_it_is_revealed"),
            models.CheckConstraint(condition=~Q(stage="VALID") | Q(report__isnull=False), name="valid_run_has_a_report"),
        ]
        indexes = [
            models.Index(fields=["available_at"], condition=Q(lease_state="READY"), name="research_run_ready"),
            models.Index(fields=["owner", "-id"], name="research_run_by_owner"),
        ]

    def __str__(self) -> str:
        return ids.encode("rpl", self.pk)


class Artefact(models.Model):
    """A checkpoint file that an owner handed in for a run, kept by its SHA-256."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="artefacts")
    checkpoint = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    byte_count = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "checkpoint"], name="run_has_each_checkpoint_once")]

    def __str__(self) -> str:
        return f"checkpoint {self.checkpoint} of {self.run_id}"


class TrustedJob(leases.Leased):
    """What only the trusted pool does: a candidate's smoke run, a run's evaluation, its audit. Its result is typed readings."""

    class Kind(models.TextChoices):
        SMOKE = "SMOKE", "smoke run of a candidate"
        EVALUATE = "EVALUATE", "evaluation of a run's weights"
        AUDIT = "AUDIT", "segments of a run, re-run"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    candidate = models.ForeignKey(Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="trusted_jobs")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.PROTECT, related_name="trusted_jobs")
    # Which tree of a candidate that may be rebased, or which version of the checks asked for it.
    subject = models.CharField(max_length=80)
    params = models.JSONField()
    readings = models.JSONField(null=True, blank=True)
    leased_by_key = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject"], name="trusted_job_is_asked_once"),
            models.CheckConstraint(condition=~Q(lease_state="DONE") | Q(readings__isnull=False), name="done_trusted_job_has_readings"),
        ]
        indexes = [models.Index(fields=["available_at"], condition=Q(lease_state="READY"), name="trusted_job_ready")]

    def __str__(self) -> str:
        return ids.encode("job", self.pk)


class Finding(models.Model):
    """What a later audit, challenge or re-judging says of a decided candidate or judged run."""

    class Source(models.TextChoices):
        REJUDGED = "REJUDGED", "a new check"
        CHALLENGE = "CHALLENGE", "a challenge"
        AUDIT = "AUDIT", "a later audit"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="findings")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.PROTECT, related_name="findings")
    source = models.CharField(max_length=9, choices=Source)
    check_name = models.CharField(max_length=40)
    check_version = models.PositiveSmallIntegerField()
    # Whether the verdict stands.
    is_upheld = models.BooleanField()
    reason_code = models.CharField(max_length=40, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["candidate", "source", "check_name", "check_version"], name="check_finds_once_per_candidate")
        ]

    def __str__(self) -> str:
        return f"{self.check_name} v{self.check_version} on {self.candidate_id}"


class Appeal(models.Model):
    """An owner's request that the trusted pool trains a run of his again, whole, which was judged invalid; once a run."""

    class Status(models.TextChoices):
        OPEN = "OPEN", "open"
        OVERTURNED = "OVERTURNED", "overturned: the run was right"
        STANDS = "STANDS", "the finding stands"
        UNDECIDED = "UNDECIDED", "nobody could tell"

    EDGES = {
        Status.OPEN: {Status.OVERTURNED, Status.STANDS, Status.UNDECIDED},
        Status.OVERTURNED: set(),
        Status.STANDS: set(),
        Status.UNDECIDED: set(),
    }

    run = models.OneToOneField(Run, on_delete=models.PROTECT, primary_key=True, related_name="appeal")
    # The pool's training of it. It belongs to no candidate: nothing waits for it, and no verdict counts it.
    again = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="again_for")
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    # The first checkpoint that is another one than the pool's on the same class; None where there is none, or the class is another.
    differs_from = models.PositiveIntegerField(null=True, blank=True)
    asked_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status="OPEN") | Q(decided_at__isnull=False), name="decided_appeal_has_its_time"),
        ]
        indexes = [models.Index(fields=["asked_at"], condition=Q(status="OPEN"), name="research_appeal_open")]

    def __str__(self) -> str:
        return f"appeal of run {self.run_id}"


class Idea(models.Model):
    """Something to try, and what came of it: a negative result is kept, so that nobody pays for it twice."""

    class Status(models.TextChoices):
        OPEN = "OPEN", "open"
        HELD = "HELD", "somebody tries it"
        WORKED = "WORKED", "worked"
        FAILED = "FAILED", "did not work"

    EDGES = {
        Status.OPEN: {Status.HELD},
        Status.HELD: {Status.OPEN, Status.WORKED, Status.FAILED},
        Status.WORKED: set(),
        Status.FAILED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    task = models.ForeignKey(ResearchTask, on_delete=models.PROTECT, related_name="ideas")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    untrusted_text = models.CharField(max_length=1000)
    # SHA-256 of the text in lower case without punctuation: the same words are the same idea.
    words_sha256 = models.CharField(max_length=64)
    status = models.CharField(max_length=6, choices=Status, default=Status.OPEN)
    holder = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    held_until = models.DateTimeField(null=True, blank=True)
    candidate = models.ForeignKey(Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="ideas")
    reported_gain = models.FloatField(null=True, blank=True)
    untrusted_result = models.CharField(max_length=1000, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "words_sha256"], name="idea_is_queued_once"),
            models.CheckConstraint(
                condition=~Q(status="HELD") | Q(holder__isnull=False, held_until__isnull=False), name="held_idea_has_a_holder"
            ),
        ]
        indexes = [models.Index(fields=["task", "status", "id"], name="idea_by_status")]

    def __str__(self) -> str:
        return ids.encode("ide", self.pk)
