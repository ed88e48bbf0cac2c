"""Stakes: what a GPU owner's pay fills first, what he may take out when nothing hangs on it, and what a forged run loses.

Every function that moves money is called inside the caller's transaction, whose unique row makes the second time harmless.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db.models import F

from market.common import account_paths, retrying
from market.escrow import holds
from market.escrow.models import Stake
from market.ledger import transfers
from tasks import changes

Divide = Callable[[int], Sequence[holds.Part]]


class NothingStaked(Exception):
    """There is nothing in the stake to take out; nothing moved."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What came out of a stake into what its owner has earned; ``effect`` names it, in at most 40 characters."""

    amount_minor: int
    effect: str


def path(*, mode: str, worker_id: uuid.UUID, currency: str) -> str:
    """Name the account of a stake, as the destination of the part that `fill` counted."""
    return account_paths.worker_stake(mode=mode, worker_id=worker_id, currency=currency)


def left(*, mode: str, worker_id: uuid.UUID, currency: str) -> int:
    """Return what backs a worker now, in minor units; 0 for one who never staked."""
    stake = Stake.objects.filter(mode=mode, worker_id=worker_id, currency=currency).first()
    return stake.left_minor if stake else 0


def fill(*, mode: str, worker_id: uuid.UUID, currency: str, pay_minor: int, full_minor: int) -> int:
    """Count the part of a pay that the stake still lacks, and return it; the caller pays that part to `path`.

    The row stays locked until the caller's transaction ends, so that two pays at once don't overfill it.
    """
    with retrying.part():
        stake = _lock(mode, worker_id, currency)
        part_minor = min(pay_minor, max(0, full_minor - stake.left_minor))
        changes.update_one(stake, Stake.objects.all(), filled_minor=F("filled_minor") + part_minor)
    return part_minor


def withdraw(*, mode: str, worker_id: uuid.UUID, currency: str) -> Withdrawal:
    """Move all that backs a worker into what he has earned. Whether nothing hangs on it any more is the caller's to know.

    Raises:
        NothingStaked: the stake is empty.
    """
    with retrying.part():
        stake = _lock(mode, worker_id, currency)
        amount_minor = stake.left_minor
        if not amount_minor:
            raise NothingStaked(f"Worker {worker_id} has nothing staked in {currency}.")
        changes.update_one(
            stake,
            Stake.objects.all(),
            withdrawn_minor=F("withdrawn_minor") + amount_minor,
            withdrawal_count=F("withdrawal_count") + 1,
        )
        effect = transfers.effect_id("stake", "withdraw", mode, worker_id.hex, currency, str(stake.withdrawal_count)).hex
        earned = account_paths.worker_earned(mode=mode, worker_id=worker_id, currency=currency)
        source = path(mode=mode, worker_id=worker_id, currency=currency)
        transfers.post_all(
            [transfers.Entry(transfers.effect_id("unstake", effect), source, earned, amount_minor, currency, "stake_returned", effect)]
        )
    return Withdrawal(amount_minor, effect)


def lose(*, mode: str, worker_id: uuid.UUID, currency: str, divide: Divide, effect: str) -> int:
    """Take all that backs a worker, pay it out as ``divide`` says, and return how much that was: 0 moves nothing.

    ``divide`` gets the amount and returns parts that come to it; ``effect`` names what it was lost by, in at most 40
    characters, and is used once.

    Raises:
        ValueError: the parts come to something else: a bug in the caller.
    """
    with retrying.part():
        stake = _lock(mode, worker_id, currency)
        lost_minor = stake.left_minor
        if not lost_minor:
            return 0
        parts = [part for part in divide(lost_minor) if part.amount_minor]
        if sum(part.amount_minor for part in parts) != lost_minor:
            raise ValueError(f"The parts of {stake} must come to {lost_minor} minor units.")
        changes.update_one(stake, Stake.objects.all(), lost_minor=F("lost_minor") + lost_minor)
        source = path(mode=mode, worker_id=worker_id, currency=currency)
        transfers.post_all(
            [
                transfers.Entry(
                    transfers.effect_id("stake", "lose", effect, str(number)),
                    source,
                    part.destination_path,
                    part.amount_minor,
                    currency,
                    part.reason,
                    effect,
                )
                for number, part in enumerate(parts)
            ]
        )
    return lost_minor


def restore(*, mode: str, worker_id: uuid.UUID, currency: str, amount_minor: int, effect: str) -> None:
    """Put back, out of the platform's fees, what a stake lost by a finding that did not hold; ``effect`` is what it was lost by.

    Raises:
        ValueError: it never lost so much: a bug in the caller.
    """
    if not amount_minor:
        return
    with retrying.part():
        stake = _lock(mode, worker_id, currency)
        lost = Stake.objects.filter(lost_minor__gte=amount_minor)
        if not changes.update_one(stake, lost, lost_minor=F("lost_minor") - amount_minor):
            raise ValueError(f"{stake} lost less than {amount_minor} minor units.")
        fees = account_paths.platform_fees(mode=mode, currency=currency)
        destination = path(mode=mode, worker_id=worker_id, currency=currency)
        transfers.post_all(
            [
                transfers.Entry(
                    transfers.effect_id("stake", "restore", effect), fees, destination, amount_minor, currency, "stake_restored", effect
                )
            ]
        )


def _lock(mode: str, worker_id: uuid.UUID, currency: str) -> Stake:
    Stake.objects.bulk_create([Stake(mode=mode, worker_id=worker_id, currency=currency)], ignore_conflicts=True)
    locked = Stake.objects.select_for_update(no_key=True)
    return locked.get(mode=mode, worker_id=worker_id, currency=currency)
