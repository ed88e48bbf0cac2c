"""Maturing: what research bounties paid becomes payable when nobody can challenge it any more and the deposits have matured."""

import datetime
import uuid

from django.db.models import Exists, OuterRef, Q, QuerySet

from market.bounties.research import locks, news
from market.bounties.research.models import CaseReserve, Challenge, ResearchSettlement, RunPayment
from market.common import retrying
from market.escrow import bonds
from market.escrow.models import Bond
from market.payments import earnings
from tasks import batches, ids
from verification.research import candidates


def finalise_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Make every acceptance final that nobody can challenge any more, and give its maker the bond back; return how many."""
    open_ones = Challenge.objects.filter(candidate=OuterRef("candidate"), status=Challenge.Status.OPEN)
    due = ResearchSettlement.objects.filter(outcome="ACCEPTED", final_at__lte=now, candidate__final_at=None).exclude(Exists(open_ones))

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _finalise(pk, now))

    return sum(batches.drive(sweep="acceptances final", due=due.order_by("final_at"), work=work, limit=limit, now=now))


def mature_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """Make rewards payable whose time has come; return how many."""
    due = ResearchSettlement.objects.filter(matured_at=None, taken_back_at=None, matures_at__lte=now, reward_minor__gt=0)

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _mature(pk, now))

    final = due.filter(candidate__final_at__isnull=False).order_by("matures_at")
    return sum(batches.drive(sweep="research rewards matured", due=final, work=work, limit=limit, now=now))


def mature_runs_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """Make the pay of runs payable whose candidate is final and whose time has come; return how many."""
    due = RunPayment.objects.filter(matured_at=None, taken_back_at=None, matures_at__lte=now)
    final = due.filter(Q(run__candidate=None) | Q(run__candidate__final_at__isnull=False)).order_by("matures_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _mature_run(pk, now))

    return sum(batches.drive(sweep="run pay matured", due=final, work=work, limit=limit, now=now))


def mature_awards_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """Make what upheld challenges won payable whose time has come; return how many."""
    due = Challenge.objects.filter(matured_at=None, matures_at__lte=now, award_minor__gt=0).order_by("matures_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _mature_award(pk, now))

    return sum(batches.drive(sweep="awards matured", due=due, work=work, limit=limit, now=now))


def unmatured_of(worker_id: uuid.UUID, *, mode: str, currency: str) -> QuerySet[RunPayment]:
    """Return a worker's pay for runs that may still be taken back: his stake backs them."""
    return RunPayment.objects.filter(worker=worker_id, run__mode=mode, currency=currency, matured_at=None, taken_back_at=None)


def _finalise(settlement_id: uuid.UUID, now: datetime.datetime) -> bool:
    bounty_id = ResearchSettlement.objects.values_list("bounty_id", flat=True).get(pk=settlement_id)
    bounty = locks.lock_bounty(bounty_id)
    settlement = ResearchSettlement.objects.select_related("candidate").get(pk=settlement_id)
    # Again under the lock: a challenge may have come in the window's last moment.
    if Challenge.objects.filter(candidate=settlement.candidate_id, status=Challenge.Status.OPEN).exists():
        return False
    if not candidates.make_final(candidate=settlement.candidate, now=now):
        return False
    bond = CaseReserve.objects.select_related("bond").get(candidate=settlement.candidate_id).bond
    if bond.status == Bond.Status.PLACED:
        bonds.give_back(bond=bond, now=now)
    news.tell_of_settlement(bounty, settlement, type="candidate.final", actor="clock")
    return True


def _mature(pk: uuid.UUID, now: datetime.datetime) -> bool:
    if not ResearchSettlement.objects.filter(pk=pk, matured_at=None, taken_back_at=None).update(matured_at=now):
        return False
    settlement = ResearchSettlement.objects.select_related("bounty__agent").get(pk=pk)
    earnings.mature(
        worker_id=settlement.worker_id,
        mode=settlement.bounty.mode,
        currency=settlement.currency,
        amount_minor=settlement.reward_minor,
        effect=str(settlement),
    )
    news.tell_of_settlement(settlement.bounty, settlement, type="settlement.matured", actor="clock")
    return True


def _mature_run(pk: uuid.UUID, now: datetime.datetime) -> bool:
    if not RunPayment.objects.filter(pk=pk, matured_at=None, taken_back_at=None).update(matured_at=now):
        return False
    payment = RunPayment.objects.select_related("run").get(pk=pk)
    earned_minor = payment.amount_minor - payment.staked_minor
    if earned_minor:
        earnings.mature(
            worker_id=payment.worker_id,
            mode=payment.run.mode,
            currency=payment.currency,
            amount_minor=earned_minor,
            effect=ids.encode("rpl", payment.run_id),
        )
    return True


def _mature_award(pk: uuid.UUID, now: datetime.datetime) -> bool:
    if not Challenge.objects.filter(pk=pk, matured_at=None).update(matured_at=now):
        return False
    challenge = Challenge.objects.select_related("bounty").get(pk=pk)
    earnings.mature(
        worker_id=challenge.challenger_id,
        mode=challenge.bounty.mode,
        currency=challenge.bounty.currency,
        amount_minor=challenge.award_minor,
        effect=str(challenge),
    )
    return True
