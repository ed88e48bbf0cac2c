"""Staking: an owner takes out what backs his reports, once nothing hangs on it any more."""

import datetime

from market.accounts.models import User
from market.bounties.research import maturing, paying
from market.common import retrying
from market.escrow import stakes
from market.payments import earnings
from verification.research.models import Run

_LIVING = (Run.Stage.OPEN, Run.Stage.SEALED, Run.Stage.REVEALED, Run.Stage.HANDED_IN)


class StakeInUse(Exception):
    """Runs of the owner are under way, not judged, or may still be found out: the stake backs them. Ask again when they are final."""


def withdraw(*, owner: User, mode: str, currency: str, now: datetime.datetime) -> stakes.Withdrawal:  # noqa: ARG001 - every step takes the time
    """Take the whole stake out: it becomes payable at once, because all that it backed, and the deposits behind it, have matured.

    Raises:
        StakeInUse: a run is open, or pay for one has not matured.
        market.escrow.stakes.NothingStaked: the stake is empty.
    """

    def work() -> stakes.Withdrawal:
        # The stake is locked first: a run that is paid meanwhile fills it again after this, and is none of what goes out.
        withdrawal = stakes.withdraw(mode=mode, worker_id=owner.pk, currency=currency)
        mine = Run.objects.filter(owner=owner, mode=mode)
        if mine.filter(stage__in=_LIVING).exclude(lease_holder="").exists() or paying.unpaid().filter(owner=owner, mode=mode).exists():
            raise StakeInUse("Runs of yours are under way or not judged: finish them, and withdraw when they are final.")
        if paying.unforfeited().filter(owner=owner, mode=mode).exists():
            raise StakeInUse("A run of yours was found to be forged: the stake is lost.")
        if maturing.unmatured_of(owner.pk, mode=mode, currency=currency).exists():
            raise StakeInUse("Runs of yours may still be challenged: withdraw when their pay is payable.")
        earnings.mature(worker_id=owner.pk, mode=mode, currency=currency, amount_minor=withdrawal.amount_minor, effect=withdrawal.effect)
        return withdrawal

    return retrying.in_transaction(work)
