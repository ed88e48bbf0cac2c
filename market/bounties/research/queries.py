"""Reads for screens and answers: what a research bounty's money did, what a run pays, what an owner earned and staked."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.expressions import CombinedExpression

from market.accounts.models import Agent
from market.bounties.locks import NoBounty
from market.bounties.research import reserving, rules
from market.bounties.research.models import CaseReserve, Challenge, ResearchBounty, ResearchSettlement, RunPayment
from market.common.money import Money
from market.escrow import queries as escrow_queries
from market.escrow import stakes
from market.events.models import Event
from tasks.models import WorkerProfile
from verification.research.models import Candidate, ResearchTask, Run

_NEVER_FUNDED = (ResearchBounty.Status.DRAFT, ResearchBounty.Status.SCREENED, ResearchBounty.Status.BLOCKED)


@dataclass(frozen=True, slots=True)
class BountyStory:
    """A research bounty's money, in minor units of its currency."""

    bounty: ResearchBounty
    totals: escrow_queries.Totals
    # What one candidate may cost at most; what is neither spent nor reserved.
    case_minor: int
    free_minor: int
    rewards_minor: int
    run_pay_minor: int
    candidate_count: int
    accepted_count: int

    @property
    def takes_candidates(self) -> bool:
        """Whether another candidate may come in now, as far as the money goes."""
        return self.bounty.status == ResearchBounty.Status.OPEN and not self.bounty.closed_because and self.free_minor >= self.case_minor


@dataclass(frozen=True, slots=True)
class CandidateStory:
    """What a candidate stands to win or lose, and what its verdict paid."""

    candidate: Candidate
    reserve: CaseReserve | None
    settlement: ResearchSettlement | None
    challenges: list[Challenge]


@dataclass(frozen=True, slots=True)
class OwnerEarnings:
    """What a GPU owner's runs earned in one currency, in minor units."""

    run_count: int
    paid_minor: int
    matured_minor: int
    stake_minor: int


def bounties_of(agent: Agent) -> QuerySet[ResearchBounty]:
    """Return an agent's research bounties, newest first."""
    return ResearchBounty.objects.filter(agent=agent).select_related("task", "agent").order_by("-id")


def bounty_of(agent: Agent, bounty_id: uuid.UUID) -> ResearchBounty:
    """Return one of an agent's research bounties, published or not.

    Raises:
        market.bounties.locks.NoBounty: it has none with that id.
    """
    bounty = bounties_of(agent).filter(pk=bounty_id).first()
    if bounty is None:
        raise NoBounty("You have no research bounty with this id.")
    return bounty


def published(*, mode: str) -> QuerySet[ResearchBounty]:
    """Return the research bounties that were funded once, newest first: what anyone may see."""
    shown = ResearchBounty.objects.filter(mode=mode, funded_at__isnull=False).exclude(status__in=_NEVER_FUNDED)
    return shown.select_related("task", "agent").order_by("-id")


def published_one(*, mode: str, bounty_id: uuid.UUID) -> ResearchBounty:
    """Return a research bounty that was funded once.

    Raises:
        market.bounties.locks.NoBounty: there is none with that id.
    """
    bounty = published(mode=mode).filter(pk=bounty_id).first()
    if bounty is None:
        raise NoBounty("No research bounty has this id.")
    return bounty


def open_bounties(*, mode: str) -> QuerySet[ResearchBounty]:
    """Return the research bounties that take candidates, newest first."""
    return published(mode=mode).filter(status=ResearchBounty.Status.OPEN, closed_because="")


def story_of_bounty(bounty: ResearchBounty) -> BountyStory:
    """Return a research bounty's money."""
    return stories_of_bounties([bounty])[0]


def stories_of_bounties(bounties: Sequence[ResearchBounty]) -> list[BountyStory]:
    """Return the money of research bounties in the same order; as many queries for a page as for one."""
    keys = [bounty.pk for bounty in bounties]
    totals = escrow_queries.totals_of(keys)
    rewards = _sums(ResearchSettlement.objects.filter(bounty__in=keys), "reward_minor")
    # Of the budget: what the platform's fees paid beside it (ringers, more runs than were reserved) is no matter of the poster's.
    pay = _sums(RunPayment.objects.filter(bounty__in=keys), F("amount_minor") - F("platform_minor"))
    theirs = Candidate.objects.filter(task__bounty__in=keys)
    found = list(theirs.values_list("task__bounty", "status"))
    return [
        BountyStory(
            bounty=bounty,
            totals=totals[bounty.pk],
            case_minor=reserving.case_minor(bounty),
            free_minor=reserving.free_minor(bounty),
            rewards_minor=rewards.get(bounty.pk, 0),
            run_pay_minor=pay.get(bounty.pk, 0),
            candidate_count=sum(key == bounty.pk for key, _ in found),
            accepted_count=sum(key == bounty.pk and status == Candidate.Status.ACCEPTED for key, status in found),
        )
        for bounty in bounties
    ]


def story_of_candidate(candidate: Candidate) -> CandidateStory:
    """Return a candidate's money."""
    return CandidateStory(
        candidate=candidate,
        reserve=CaseReserve.objects.select_related("bond").filter(candidate=candidate).first(),
        settlement=ResearchSettlement.objects.filter(candidate=candidate).first(),
        challenges=list(Challenge.objects.filter(candidate=candidate).order_by("created_at")),
    )


def bounty_of_task(task: ResearchTask) -> ResearchBounty:
    """Return the bounty of a research task."""
    return ResearchBounty.objects.select_related("agent", "task").get(task=task)


def pay_of_runs(runs: Iterable[Run]) -> dict[uuid.UUID, Money]:
    """Return what each run pays when it is valid, by its id; a ringer pays like any other."""
    listed = list(runs)
    fees = {
        task_id: Money(fee_minor, currency)
        for task_id, fee_minor, currency in ResearchBounty.objects.filter(
            task__in={run.task_id for run in listed if run.task_id}
        ).values_list("task_id", "run_fee_minor", "currency")
    }
    return {run.pk: fees.get(run.task_id, rules.CALIBRATION_PAY) if run.task_id else rules.CALIBRATION_PAY for run in listed}


def open_run_fees(*, mode: str, class_text: str, hardware: str) -> list[Money]:
    """Return what each run pays that waits for an owner of this class, for the median that `GET /v1/demand` shows."""
    waiting = Run.objects.filter(mode=mode, stage=Run.Stage.OPEN, lease_state="READY", is_trusted_only=False, host__isnull=True)
    fitting = waiting.filter(Q(class_text=class_text) | Q(class_text="", hardware__contains=[hardware]))
    rows = fitting.filter(task__bounty__isnull=False).values_list("task__bounty__run_fee_minor", "task__bounty__currency")
    return [Money(fee_minor, currency) for fee_minor, currency in rows]


def payments_of(owner_id: uuid.UUID, *, mode: str) -> QuerySet[RunPayment]:
    """Return what an owner was paid for runs, newest first."""
    return RunPayment.objects.filter(worker=owner_id, run__mode=mode).select_related("run", "bounty").order_by("-paid_at", "-run")


def earnings_of(worker: WorkerProfile, *, mode: str) -> dict[str, OwnerEarnings]:
    """Return what an owner's runs earned, by currency."""
    found: dict[str, OwnerEarnings] = {}
    for currency in payments_of(worker.pk, mode=mode).order_by().values_list("currency", flat=True).distinct():
        rows = list(payments_of(worker.pk, mode=mode).filter(currency=currency, taken_back_at=None))
        found[currency] = OwnerEarnings(
            run_count=len(rows),
            paid_minor=sum(row.amount_minor for row in rows),
            matured_minor=sum(row.amount_minor - row.staked_minor for row in rows if row.matured_at),
            stake_minor=stakes.left(mode=mode, worker_id=worker.pk, currency=currency),
        )
    return found


def settlements_of(worker: WorkerProfile, *, mode: str) -> QuerySet[ResearchSettlement]:
    """Return what a worker's candidates were paid, newest first."""
    mine = ResearchSettlement.objects.filter(worker=worker, bounty__mode=mode)
    return mine.select_related("candidate", "bounty").order_by("-settled_at", "-id")


def events_of(bounty: ResearchBounty) -> QuerySet[Event]:
    """Return what happened to a research bounty, its candidates and runs, in the order it was written."""
    return Event.objects.filter(agent_id=bounty.agent_id, data__bounty=str(bounty)).order_by("id")


def _sums(rows: QuerySet[ResearchSettlement] | QuerySet[RunPayment], field: str | CombinedExpression) -> dict[uuid.UUID, int]:
    return {key: total for key, total in rows.order_by().values_list("bounty").annotate(total=Sum(field)) if key is not None}


def reserves_that_differ() -> list[str]:
    """Compare every bounty's counters with its reserves and its hold; return the differences in words."""
    differences = []
    reserved = dict(
        CaseReserve.objects.filter(released_at=None).values_list("bounty").annotate(total=Sum("amount_minor") - Sum("spent_minor"))
    )
    paid = dict(CaseReserve.objects.values_list("bounty").annotate(total=Sum("spent_minor")))
    bounties = ResearchBounty.objects.filter(funded_at__isnull=False)
    totals = escrow_queries.totals_of(list(bounties.values_list("pk", flat=True)))
    for bounty in bounties.order_by("pk"):
        said = (bounty.reserved_minor, bounty.spent_minor, bounty.spent_minor)
        counted = (reserved.get(bounty.pk, 0), paid.get(bounty.pk, 0), totals[bounty.pk].captured_minor)
        if said != counted:
            differences.append(f"reserves differ: {bounty}: reserved, spent, captured are {said} on the bounty, {counted} in rows")
        is_open = bounty.status == ResearchBounty.Status.OPEN
        held_minor = bounty.budget_minor - bounty.spent_minor if is_open else 0
        if totals[bounty.pk].held_minor != held_minor:
            differences.append(f"budget differs: {bounty}: {held_minor} should be held, {totals[bounty.pk].held_minor} is")
    return differences
