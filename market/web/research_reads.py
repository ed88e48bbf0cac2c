"""What the pages of a research bounty show of it: prices, held funds, the chain of tips, who gained what, ideas. Changes nothing."""

import dataclasses
import datetime
import uuid
from collections.abc import Sequence

from django.db.models import Count, Q, QuerySet, Sum
from django.http import Http404

from market.bounties import locks
from market.bounties.research import queries, reserving
from market.bounties.research.models import ResearchBounty, ResearchSettlement
from market.common.money import Money
from market.escrow import queries as escrow_queries
from market.web import plots, visitors
from market.web.templatetags import pages as wording
from tasks.models import WorkerProfile
from verification.replay.spec import Spec
from verification.research import tips
from verification.research.models import Candidate, Idea, ResearchTask, Tip

UNIT = "bits per byte"
# Whoever wants older ones than these has the API.
MAX_JUDGED = 2_000
_MAX_LINES = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Card:
    """A research bounty on the list."""

    bounty: ResearchBounty
    spec: Spec
    reward: Money
    run_fee: Money
    held: Money
    accepted_count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Prices:
    """What a research bounty pays, asks for and has left."""

    reward: Money
    cap: Money
    run_fee: Money
    bond: Money
    challenge_stake: Money
    budget: Money
    held: Money
    reserved: Money


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """One maker on the leaderboard: what stands of his."""

    name: str
    is_yours: bool
    accepted_count: int
    gain: float
    paid: Money


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One tip of the chain with what was paid for it; the base has no candidate and no pay."""

    tip: Tip
    candidate: Candidate | None
    pay: Money | None
    is_current: bool


def listed(*, mode: str, after: uuid.UUID | None, limit: int, now: datetime.datetime) -> list[Card]:
    """Return research bounties that take candidates, newest first; ``after`` is the last one of the page before."""
    found = queries.open_bounties(mode=mode).filter(deadline__gt=now, task__status=ResearchTask.Status.LISTED)
    bounties = list((found.filter(pk__lt=after) if after else found)[:limit])
    totals = escrow_queries.totals_of([bounty.pk for bounty in bounties])
    standing = dict(
        Tip.objects.filter(task__in=[bounty.task_id for bounty in bounties], number__gt=0, withdrawn_at=None)
        .values_list("task")
        .annotate(Count("pk"))
    )
    return [
        Card(
            bounty=bounty,
            spec=Spec.from_json(bounty.task.spec),
            reward=Money(bounty.reward_per_effect_minor, bounty.currency),
            run_fee=Money(bounty.run_fee_minor, bounty.currency),
            held=Money(totals[bounty.pk].held_minor, bounty.currency),
            accepted_count=standing.get(bounty.task_id, 0),
        )
        for bounty in bounties
    ]


def bounty_of(bounty_id: uuid.UUID, *, mode: str) -> ResearchBounty:
    """Return a research bounty that was funded once, open or not; any other is not found."""
    try:
        return queries.published_one(mode=mode, bounty_id=bounty_id)
    except locks.NoBounty:
        raise Http404("There is no such research bounty.") from None


def takes_candidates(bounty: ResearchBounty, *, now: datetime.datetime) -> bool:
    """Tell whether somebody could send a candidate now."""
    is_listed = bounty.task.status == ResearchTask.Status.LISTED
    return is_listed and bounty.status == ResearchBounty.Status.OPEN and not bounty.closed_because and now < bounty.deadline


def is_full(bounty: ResearchBounty) -> bool:
    """Tell whether all that is left is reserved for candidates under way."""
    return reserving.free_minor(bounty) < reserving.case_minor(bounty)


def prices_of(bounty: ResearchBounty) -> Prices:
    """Return what the bounty pays, asks for and has left."""
    held_minor = escrow_queries.totals(bounty.pk).held_minor
    amounts = (
        *(bounty.reward_per_effect_minor, bounty.cap_minor, bounty.run_fee_minor, bounty.bond_minor, bounty.challenge_stake_minor),
        *(bounty.budget_minor, held_minor, bounty.reserved_minor),
    )
    return Prices(*(Money(amount, bounty.currency) for amount in amounts))


def frontier_of(bounty: ResearchBounty) -> plots.Plot:
    """Draw the progress of a bounty: every candidate that replays have judged."""
    spec = Spec.from_json(bounty.task.spec)
    return plots.frontier(_judged(bounty), noise_sd=spec.paired_sd, unit=UNIT, key="frontier", about=bounty.task.title)


def leaderboard_of(bounty: ResearchBounty, *, viewer: WorkerProfile | None) -> list[Place]:
    """Return whose accepted commits stand and gained most."""
    rows = (
        Candidate.objects.filter(task=bounty.task_id, status=Candidate.Status.ACCEPTED, tip__withdrawn_at=None)
        .values("claimant")
        .annotate(count=Count("pk"), total=Sum("gain"), paid_minor=Sum("settlement__reward_minor"))
        .order_by("-total", "claimant")[:_MAX_LINES]
    )
    return [
        Place(
            name=visitors.name_of(row["claimant"]),
            is_yours=viewer is not None and viewer.pk == row["claimant"],
            accepted_count=row["count"],
            gain=row["total"] or 0.0,
            paid=Money(row["paid_minor"] or 0, bounty.currency),
        )
        for row in rows
    ]


def chain_of(bounty: ResearchBounty) -> list[Link]:
    """Return the tips, newest first: the current one, those it stands on, and those that were withdrawn."""
    current = tips.current(bounty.task)
    found = list(Tip.objects.filter(task=bounty.task_id).select_related("candidate", "parent").order_by("-number")[:_MAX_LINES])
    paid = rewards_of([tip.candidate_id for tip in found if tip.candidate_id])
    return [Link(tip, tip.candidate, paid.get(tip.candidate_id) if tip.candidate_id else None, tip.pk == current.pk) for tip in found]


def undecided_of(bounty: ResearchBounty) -> QuerySet[Candidate]:
    """Return the candidates that are under way, in the order of their places; of a sealed one nothing but its place is known."""
    under_way = (Candidate.Status.SEALED, *Candidate.UNDECIDED)
    return bounty.task.candidates.filter(status__in=under_way).order_by("place")


def newest_refused_of(bounty: ResearchBounty) -> list[Candidate]:
    """Return the newest candidates that were not accepted."""
    refused = (Candidate.Status.REJECTED, Candidate.Status.INCONCLUSIVE)
    return list(bounty.task.candidates.filter(status__in=refused).order_by("-decided_at", "-pk")[:_MAX_LINES])


def ideas_of(bounty: ResearchBounty) -> list[Idea]:
    """Return ideas: those to try first, then what came of others; what did not work is kept and shown."""
    ideas = Idea.objects.filter(task=bounty.task_id)
    open_ones = ideas.filter(status__in=(Idea.Status.OPEN, Idea.Status.HELD)).order_by("-id")[:_MAX_LINES]
    ended = ideas.filter(status__in=(Idea.Status.FAILED, Idea.Status.WORKED)).order_by("-ended_at", "-id")[:_MAX_LINES]
    return [*open_ones, *ended]


def rewards_of(candidate_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Money]:
    """Return what candidates were paid, for those that were."""
    paid = ResearchSettlement.objects.filter(candidate__in=candidate_ids, reward_minor__gt=0)
    return {settled.candidate_id: Money(settled.reward_minor, settled.currency) for settled in paid}


def _judged(bounty: ResearchBounty) -> list[plots.Judged]:
    judged = Candidate.objects.filter(Q(gain__isnull=False), task=bounty.task_id, status__in=Candidate.DECIDED)
    newest = list(judged.select_related("tip").order_by("-decided_at", "-pk")[:MAX_JUDGED])
    paid = rewards_of([one.pk for one in newest])
    return [_judged_one(one, paid.get(one.pk)) for one in reversed(newest)]


def _judged_one(candidate: Candidate, pay: Money | None) -> plots.Judged:
    tip = getattr(candidate, "tip", None)
    outcome: plots.Outcome = "REJECTED"
    if candidate.status == Candidate.Status.ACCEPTED:
        outcome = "WITHDRAWN" if tip is not None and tip.withdrawn_at else "ACCEPTED"
    elif candidate.status == Candidate.Status.INCONCLUSIVE:
        outcome = "INCONCLUSIVE"
    return plots.Judged(str(candidate), outcome, candidate.gain or 0.0, wording.money(pay) if pay else "")
