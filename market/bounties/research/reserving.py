"""Reserving: what candidates under way may still cost, so that the budget is never promised twice.

Every function here is called with the bounty locked (`market.bounties.research.locks`), inside the caller's transaction.
"""

import datetime
from collections.abc import Sequence

from django.db.models import F

from market.bounties.research import pricing
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.escrow import holds
from market.escrow.models import Bond, Hold
from tasks import changes
from verification.research.models import Candidate


class BudgetSpent(Exception):
    """What is left of the budget, and not reserved for others, can't pay another candidate. Look again when one is decided."""


def case_minor(bounty: ResearchBounty) -> int:
    """Return what one candidate may cost at most, in minor units."""
    return pricing.case_minor(bounty.cap_minor, bounty.fee_bps, bounty.max_runs, bounty.run_fee_minor)


def free_minor(bounty: ResearchBounty) -> int:
    """Return what is neither spent nor reserved, in minor units."""
    return bounty.budget_minor - bounty.reserved_minor - bounty.spent_minor


def require_room(bounty: ResearchBounty) -> None:
    """Check that another candidate can be paid.

    Raises:
        BudgetSpent: it can't.
    """
    if free_minor(bounty) < case_minor(bounty):
        raise BudgetSpent(f"{bounty} has {free_minor(bounty)} minor units left; a candidate may cost {case_minor(bounty)}.")


def reserve(*, bounty: ResearchBounty, candidate: Candidate, bond: Bond, now: datetime.datetime) -> CaseReserve:
    """Reserve what a new candidate may cost.

    Raises:
        BudgetSpent: too little is left.
    """
    require_room(bounty)
    amount_minor = case_minor(bounty)
    changes.update_one(bounty, ResearchBounty.objects.all(), reserved_minor=F("reserved_minor") + amount_minor)
    return CaseReserve.objects.create(candidate=candidate, bounty=bounty, amount_minor=amount_minor, bond=bond, created_at=now)


def capture(*, bounty: ResearchBounty, reserve: CaseReserve, parts: Sequence[holds.Part], effect: str, now: datetime.datetime) -> None:
    """Pay parts out of the held budget, as the reserve of one candidate foresaw."""
    total = sum(part.amount_minor for part in parts)
    if not total:
        return
    holds.capture_part(hold=budget_hold(bounty), parts=parts, effect=effect, now=now)
    # Constraints hold both within their bounds: a reserve pays no more than it has.
    changes.update_one(reserve, CaseReserve.objects.filter(released_at=None), spent_minor=F("spent_minor") + total)
    changes.update_one(
        bounty, ResearchBounty.objects.all(), reserved_minor=F("reserved_minor") - total, spent_minor=F("spent_minor") + total
    )


def release(*, bounty: ResearchBounty, reserve: CaseReserve, now: datetime.datetime) -> bool:
    """Free what a candidate did not cost; return False if that was done before."""
    if not changes.update_one(reserve, CaseReserve.objects.filter(released_at=None), released_at=now):
        return False
    unspent_minor = reserve.amount_minor - reserve.spent_minor
    changes.update_one(bounty, ResearchBounty.objects.all(), reserved_minor=F("reserved_minor") - unspent_minor)
    return True


def budget_hold(bounty: ResearchBounty) -> Hold:
    """Return the hold of a bounty's whole budget."""
    return Hold.objects.get(bounty_id=bounty.pk, kind=Hold.Kind.BUDGET)
