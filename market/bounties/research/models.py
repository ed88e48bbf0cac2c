"""Money of research bounties: the bounty with its budget and prices, reserves, settlements, pay for runs, challenges."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from market.accounts.models import Agent, ApiKey
from market.escrow.models import Bond
from tasks import ids
from tasks.models import Mode, WorkerProfile
from verification.research.models import Candidate, Finding, ResearchTask, Run


class ResearchBounty(models.Model):
    """A budget for verified gains on a training repository, posted by an agent. One hold keeps the budget."""

    class Status(models.TextChoices):
        DRAFT = "DRAFT", "draft"
        SCREENED = "SCREENED", "screened: may be funded"
        BLOCKED = "BLOCKED", "blocked by policy"
        OPEN = "OPEN", "open: money is held"
        SETTLED = "SETTLED", "settled: no money is held any more"
        CANCELLED = "CANCELLED", "cancelled by the agent"
        EXPIRED = "EXPIRED", "expired"

    EDGES = {
        Status.DRAFT: {Status.SCREENED, Status.BLOCKED},
        Status.SCREENED: {Status.OPEN, Status.CANCELLED, Status.EXPIRED},
        Status.BLOCKED: set(),
        Status.OPEN: {Status.SETTLED, Status.CANCELLED, Status.EXPIRED},
        Status.SETTLED: set(),
        Status.CANCELLED: set(),
        Status.EXPIRED: set(),
    }

    class ClosedBecause(models.TextChoices):
        SPENT = "SPENT", "the budget can't pay another candidate"
        CANCELLED = "CANCELLED", "the agent cancelled"
        EXPIRED = "EXPIRED", "time ran out"

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="research_bounties")
    posted_with = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=4, choices=Mode)
    task = models.OneToOneField(ResearchTask, on_delete=models.PROTECT, related_name="bounty")
    status = models.CharField(max_length=9, choices=Status, default=Status.DRAFT)
    # Set when closing begins; the status follows when the last received candidate is final.
    closed_because = models.CharField(max_length=9, choices=ClosedBecause, blank=True, default="")
    # The offer. Amounts in minor units of the currency.
    currency = models.CharField(max_length=5)
    budget_minor = models.BigIntegerField()
    # For each `min_effect` of shrunk verified gain over the tip, up to the cap of one candidate.
    reward_per_effect_minor = models.BigIntegerField()
    cap_minor = models.BigIntegerField()
    # For each valid run, whatever the verdict; at most `max_runs` of them for one candidate.
    run_fee_minor = models.BigIntegerField()
    max_runs = models.PositiveSmallIntegerField()
    # What the platform adds to each reward.
    fee_bps = models.PositiveSmallIntegerField()
    # What a candidate's maker stakes; what a challenger stakes.
    bond_minor = models.BigIntegerField()
    challenge_stake_minor = models.BigIntegerField()
    challenge_window_s = models.PositiveIntegerField()
    deadline = models.DateTimeField()
    # What candidates under way may still cost; held + reserved never pass the budget.
    reserved_minor = models.BigIntegerField(default=0)
    spent_minor = models.BigIntegerField(default=0)
    # H(spec, offer), frozen at funding.
    terms_hash = models.CharField(max_length=64, blank=True, default="")
    policy_version = models.CharField(max_length=80, blank=True, default="")
    policy_codes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    funded_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved_minor__gte=0, spent_minor__gte=0, budget_minor__gte=F("reserved_minor") + F("spent_minor")),
                name="research_reserves_stay_within_the_budget",
            ),
            models.CheckConstraint(
                condition=Q(budget_minor__gt=0, reward_per_effect_minor__gt=0, cap_minor__gt=0, run_fee_minor__gt=0)
                & Q(bond_minor__gt=0, challenge_stake_minor__gt=0),
                name="research_offer_amounts_are_positive",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("DRAFT", "SCREENED", "BLOCKED", "CANCELLED", "EXPIRED")) | Q(funded_at__isnull=False),
                name="open_research_bounty_was_funded",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("DRAFT", "SCREENED", "BLOCKED", "OPEN")) | Q(reserved_minor=0),
                name="closed_research_bounty_reserves_nothing",
            ),
        ]
        indexes = [
            models.Index(fields=["agent", "-id"], name="research_bounty_by_agent"),
            models.Index(fields=["closed_because"], condition=Q(status__in=("SCREENED", "OPEN")), name="research_bounty_that_may_close"),
        ]

    def __str__(self) -> str:
        return ids.encode("rsb", self.pk)


class CaseReserve(models.Model):
    """What a candidate under way may cost at most: its cap with the platform's fee, and its runs. The insert is the lock."""

    candidate = models.OneToOneField(Candidate, on_delete=models.PROTECT, primary_key=True, related_name="reserve")
    bounty = models.ForeignKey(ResearchBounty, on_delete=models.PROTECT, related_name="reserves")
    amount_minor = models.BigIntegerField()
    # What its runs and its reward took of it.
    spent_minor = models.BigIntegerField(default=0)
    bond = models.OneToOneField(Bond, on_delete=models.PROTECT, related_name="+")
    # None: reserved. What was not spent is free again from then on.
    released_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(spent_minor__gte=0, amount_minor__gte=F("spent_minor")), name="case_spends_within_its_reserve"
            )
        ]

    def __str__(self) -> str:
        return f"reserve of {self.candidate_id}"


class ResearchSettlement(models.Model):
    """One candidate's verdict turned into transfers; the insert is the lock."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    candidate = models.OneToOneField(Candidate, on_delete=models.PROTECT, related_name="settlement")
    bounty = models.ForeignKey(ResearchBounty, on_delete=models.PROTECT, related_name="settlements")
    outcome = models.CharField(
        max_length=12, choices=[("ACCEPTED", "accepted"), ("REJECTED", "rejected"), ("INCONCLUSIVE", "inconclusive")]
    )
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    reward_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    # The signed receipt (see `verification.receipts`), issued once.
    receipt = models.JSONField(null=True, blank=True)
    settled_at = models.DateTimeField()
    # Until when it may be challenged; when that and deposit maturity will have passed, and when the money then became payable.
    final_at = models.DateTimeField()
    matures_at = models.DateTimeField()
    matured_at = models.DateTimeField(null=True, blank=True)
    # By a Finding before it was payable: reward and fee went back to the agent. What is payable stays.
    taken_back_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome="ACCEPTED", reward_minor__gt=0, fee_minor__gte=0)
                | (~Q(outcome="ACCEPTED") & Q(reward_minor=0, fee_minor=0)),
                name="research_settlement_pays_only_gains",
            ),
            models.CheckConstraint(
                condition=Q(matured_at__isnull=True) | Q(taken_back_at__isnull=True), name="payable_reward_is_never_taken_back"
            ),
        ]
        indexes = [
            models.Index(
                fields=["matures_at"], condition=Q(matured_at__isnull=True, taken_back_at__isnull=True), name="research_pay_to_mature"
            )
        ]

    def __str__(self) -> str:
        return ids.encode("set", self.pk)


class RunPayment(models.Model):
    """What an owner earned by one run, whatever its candidate's verdict; the insert is the lock."""

    class Reason(models.TextChoices):
        VALID = "VALID", "a valid run"
        PARTIAL = "PARTIAL", "the part done of a run that the market cancelled"
        UNJUDGED = "UNJUDGED", "a run that we could not evaluate, paid as done"
        CALIBRATION = "CALIBRATION", "a host's first run, paid by the platform"
        OVERTURNED = "OVERTURNED", "a run that its appeal showed to be right, paid by the platform"

    run = models.OneToOneField(Run, on_delete=models.PROTECT, primary_key=True, related_name="payment")
    bounty = models.ForeignKey(ResearchBounty, null=True, blank=True, on_delete=models.PROTECT, related_name="run_payments")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=11, choices=Reason)
    amount_minor = models.BigIntegerField()
    # The part of it that went into the owner's stake instead of what he earned.
    staked_minor = models.BigIntegerField(default=0)
    # The part of it that the platform's fees paid: a calibration, a ringer, more runs than a candidate's reserve is for.
    platform_minor = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=5)
    paid_at = models.DateTimeField()
    # At the earliest; it waits for the end of its candidate's challenge window too.
    matures_at = models.DateTimeField()
    matured_at = models.DateTimeField(null=True, blank=True)
    # By a Finding before it was payable: what was not in the stake went back to whom it came from.
    taken_back_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(staked_minor__gte=0, amount_minor__gte=F("staked_minor")), name="staked_part_is_a_part_of_the_pay"
            ),
            models.CheckConstraint(
                condition=Q(platform_minor__gte=0, amount_minor__gte=F("platform_minor")), name="platform_part_is_a_part_of_the_pay"
            ),
            models.CheckConstraint(
                condition=Q(matured_at__isnull=True) | Q(taken_back_at__isnull=True), name="payable_run_pay_is_never_taken_back"
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="run_pay_is_positive"),
            models.CheckConstraint(condition=Q(reason="CALIBRATION") | Q(bounty__isnull=False), name="run_pay_comes_from_a_bounty"),
        ]
        indexes = [
            models.Index(fields=["matures_at"], condition=Q(matured_at__isnull=True, taken_back_at__isnull=True), name="run_pay_to_mature")
        ]

    def __str__(self) -> str:
        return f"pay of run {self.run_id}"


class Forfeit(models.Model):
    """What an owner's stake lost by one forged run, 0 where it was empty; the insert is the lock."""

    run = models.OneToOneField(Run, on_delete=models.PROTECT, primary_key=True, related_name="forfeit")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    forfeited_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"forfeit of run {self.run_id}"


class Restitution(models.Model):
    """What the platform put back into an owner's stake, because an appeal did not confirm what it was lost by; the insert is the lock."""

    run = models.OneToOneField(Run, on_delete=models.PROTECT, primary_key=True, related_name="restitution")
    worker = models.ForeignKey(WorkerProfile, on_delete=models.PROTECT, related_name="+")
    # 0 where the stake had lost nothing.
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    made_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"restitution for run {self.run_id}"


class Challenge(models.Model):
    """A skeptic's stake against an accepted candidate: its runs are trained again, all of them."""

    class Status(models.TextChoices):
        OPEN = "OPEN", "open"
        UPHELD = "UPHELD", "upheld: the candidate's bond is the challenger's"
        DISMISSED = "DISMISSED", "dismissed: the stake is lost"
        UNDECIDED = "UNDECIDED", "nobody could tell: the stake came back"

    EDGES = {
        Status.OPEN: {Status.UPHELD, Status.DISMISSED, Status.UNDECIDED},
        Status.UPHELD: set(),
        Status.DISMISSED: set(),
        Status.UNDECIDED: set(),
    }

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="challenges")
    bounty = models.ForeignKey(ResearchBounty, on_delete=models.PROTECT, related_name="challenges")
    challenger = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    bond = models.OneToOneField(Bond, on_delete=models.PROTECT, related_name="+")
    untrusted_statement = models.CharField(max_length=1000, blank=True, default="")
    status = models.CharField(max_length=9, choices=Status, default=Status.OPEN)
    # What an upheld one won: the candidate's bond and a part of forgers' stakes. Earned like a reward, and payable like one.
    award_minor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    matures_at = models.DateTimeField(null=True, blank=True)
    matured_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["candidate"], condition=Q(status="OPEN"), name="candidate_has_one_open_challenge"),
            models.UniqueConstraint(fields=["candidate", "challenger"], name="challenger_challenges_a_candidate_once"),
            models.CheckConstraint(
                condition=Q(award_minor=0) | Q(status="UPHELD", award_minor__gt=0, matures_at__isnull=False),
                name="only_upheld_challenge_wins",
            ),
        ]
        indexes = [
            models.Index(fields=["matures_at"], condition=Q(matured_at__isnull=True, award_minor__gt=0), name="research_award_to_mature")
        ]

    def __str__(self) -> str:
        return ids.encode("chl", self.pk)


class AppliedFinding(models.Model):
    """What an upheld finding cost those whom it is about; the insert is the lock."""

    finding = models.OneToOneField(Finding, on_delete=models.PROTECT, primary_key=True, related_name="applied")
    bounty = models.ForeignKey(ResearchBounty, on_delete=models.PROTECT, related_name="applied_findings")
    # What came back to the agent, because it was not payable yet; the bond that was still placed; the stake of the run's owner.
    taken_back_minor = models.BigIntegerField(default=0)
    bond_minor = models.BigIntegerField(default=0)
    stake_minor = models.BigIntegerField(default=0)
    applied_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"consequences of finding {self.finding_id}"
