"""Maturing: earned becomes payable when the challenge window and the maturity of the deposits behind it have passed."""

import datetime
import uuid

from market.bounties import news, rules
from market.bounties.models import Bounty, Settlement
from market.common import retrying
from market.payments import earnings
from market.payments.models import Deposit
from tasks import batches


def mature_due(*, now: datetime.datetime, limit: int = 500) -> int:
    """Make every paid settlement payable whose time has come; return how many."""
    due = Settlement.objects.filter(matured_at=None, matures_at__lte=now).exclude(kind=Settlement.Kind.UNPAID)

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _mature(pk, now))

    return sum(batches.drive(sweep="settlements matured", due=due.order_by("matures_at"), work=work, limit=limit, now=now))


def matures_at(*, bounty: Bounty, settled_at: datetime.datetime) -> datetime.datetime:
    """Return the later end of the challenge window and of the maturity of every deposit that may stand behind the money."""
    return max(settled_at + rules.CHALLENGE_WINDOW[bounty.task.kind], deposits_mature_at(agent_id=bounty.agent_id, settled_at=settled_at))


def deposits_mature_at(*, agent_id: uuid.UUID, settled_at: datetime.datetime) -> datetime.datetime:
    """Return when every deposit that may stand behind an agent's money has matured; ``settled_at`` where all have."""
    longest = max(rules.DEFAULT_DEPOSIT_MATURITY, *rules.DEPOSIT_MATURITY.values())
    deposits = Deposit.objects.filter(agent_id=agent_id, status=Deposit.Status.CONFIRMED, confirmed_at__gt=settled_at - longest)
    ends = [
        confirmed_at + rules.DEPOSIT_MATURITY.get(provider, rules.DEFAULT_DEPOSIT_MATURITY)
        for provider, confirmed_at in deposits.values_list("provider", "confirmed_at")
        if confirmed_at is not None
    ]
    return max([settled_at, *ends])


def _mature(pk: uuid.UUID, now: datetime.datetime) -> bool:
    if not Settlement.objects.filter(pk=pk, matured_at=None).update(matured_at=now):
        return False
    settlement = Settlement.objects.select_related("bounty__agent", "submission").get(pk=pk)
    earnings.mature(
        worker_id=settlement.submission.worker_id,
        mode=settlement.bounty.mode,
        currency=settlement.currency,
        amount_minor=settlement.worker_minor,
        effect=str(settlement),
    )
    news.tell_of_settlement(settlement.bounty, settlement, type="settlement.matured", actor="clock")
    return True
