"""Improving: raise the reward or the deadline of an open bounty. An offer is never made worse."""

import datetime
import uuid

from market.accounts.models import Agent, ApiKey
from market.bounties import closing, locks, news, posting, pricing, rules, spending
from market.bounties.models import Bounty, Offer
from market.common import retrying
from market.common.money import Money
from market.escrow import holds
from tasks import leases
from tasks.kinds import photo
from tasks.models import Slot, Task
from verification import pipeline


class NotImprovable(Exception):
    """The bounty is not open, is closing, or the new offer is no better than the one that stands."""


def improve(
    *,
    bounty: Bounty,
    agent: Agent,
    key: ApiKey | None = None,
    reward: Money | None = None,
    deadline: datetime.datetime | None = None,
    now: datetime.datetime,
) -> Offer:
    """Write a new version of the offer and hold what it costs more; who has claimed already gets it too.

    Work that the machine has judged already was judged for the price of its time and is paid that (`settlement`).
    The terms stay as they were frozen: only the time in which they may be met grows. The same improvement again returns
    the version that stands. ``key`` is the one that acts and whose limits count; the one that posted the bounty if none is given.

    Raises:
        market.bounties.locks.NoBounty: it is another agent's.
        NotImprovable: not open, closing, not better, or not allowed any more by the rules in force.
        market.bounties.posting.AgentSuspended: the agent may not offer more.
        market.bounties.spending.KeyRevoked: the key is revoked.
        market.bounties.pricing.BadOffer: beyond the limits of an offer.
        market.escrow.holds.InsufficientFunds: the agent has too little available for the difference.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
    """
    if bounty.agent_id != agent.pk:
        raise locks.NoBounty(f"No bounty {bounty}.")
    return retrying.in_transaction(lambda: _improve(bounty.pk, key, reward, deadline, now))


def _improve(
    bounty_id: uuid.UUID, key: ApiKey | None, reward: Money | None, deadline: datetime.datetime | None, now: datetime.datetime
) -> Offer:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.status != Bounty.Status.OPEN or bounty.closed_because or now >= bounty.task.closes_at:
        raise NotImprovable(f"{bounty} is not open any more: post a new one.")
    current = bounty.offers.latest("version")
    new_deadline = deadline or current.deadline
    reward_minor = _reward_minor(reward, current)
    if (reward_minor, new_deadline) == (current.reward_minor, current.deadline):
        return current
    if reward_minor < current.reward_minor or new_deadline < current.deadline:
        raise NotImprovable(f"{bounty} may only be improved: neither reward nor deadline can be lowered.")
    if new_deadline > bounty.created_at + rules.MAX_LIFE:
        raise pricing.BadOffer("deadline", f"A bounty lives {rules.MAX_LIFE.days} days at most.")
    _require_right_to_improve(bounty, key or bounty.posted_with)
    offer = _write(bounty, current, reward_minor, new_deadline, now)
    _hold_more(bounty, key or bounty.posted_with, current, offer, now)
    # A surer verdict for the higher price, also on work that was handed in before.
    pipeline.tighten(task_id=bounty.task_id, max_false_accept=pricing.max_false_accept(Money(reward_minor, offer.currency)))
    Task.objects.filter(pk=bounty.task_id).update(closes_at=new_deadline)
    bounty.task.closes_at = new_deadline
    news.tell_of_bounty(
        bounty,
        type="bounty.improved",
        actor="agent",
        offer_version=offer.version,
        reward=news.money_json(offer.reward_minor, offer.currency),
        deadline=offer.deadline.isoformat(),
    )
    return offer


def _require_right_to_improve(bounty: Bounty, key: ApiKey) -> None:
    if bounty.agent.is_suspended:
        raise posting.AgentSuspended(f"{bounty.agent} is suspended: it can't improve a bounty until an operator lifts it.")
    # Also where only the deadline moves and nothing is spent.
    spending.lock_key(key.pk)
    if bounty.policy_version != posting.policy_version():
        terms = photo.PhotoTerms.model_validate(bounty.task.terms)
        if not posting.screen(bounty.task.title, terms).is_allowed:
            raise NotImprovable(f"The rules now in force do not allow {bounty}: it can't be improved.")


def _reward_minor(reward: Money | None, current: Offer) -> int:
    if reward is None:
        return current.reward_minor
    if reward.currency != current.currency:
        raise NotImprovable(f"The bounty's currency is {current.currency}: there is no exchange.")
    if reward.amount_minor > pricing.MAX_REWARD_MINOR[reward.currency]:
        raise pricing.BadOffer("reward", f"A reward is at most {Money(pricing.MAX_REWARD_MINOR[reward.currency], reward.currency)}.")
    return reward.amount_minor


def _write(bounty: Bounty, current: Offer, reward_minor: int, deadline: datetime.datetime, now: datetime.datetime) -> Offer:
    return Offer.objects.create(
        bounty=bounty,
        version=current.version + 1,
        currency=current.currency,
        reward_minor=reward_minor,
        fee_minor=pricing.fee_minor(reward_minor),
        # What a negative outcome pays was reserved at funding and stays.
        negative_fee_minor=current.negative_fee_minor,
        max_negative_outcomes=current.max_negative_outcomes,
        deadline=deadline,
        created_at=now,
    )


def _hold_more(bounty: Bounty, key: ApiKey, current: Offer, offer: Offer, now: datetime.datetime) -> None:
    slot_minor = offer.reward_minor + offer.fee_minor
    extra_minor = slot_minor - current.reward_minor - current.fee_minor
    pending = [leases.LeaseState.READY, leases.LeaseState.LEASED]
    numbers = list(Slot.objects.filter(task_id=bounty.task_id, lease_state__in=pending).order_by("number").values_list("number", flat=True))
    if not extra_minor:
        return
    spending.spend(
        key_id=key.pk,
        bounty=bounty,
        offer_version=offer.version,
        amount_minor=extra_minor * len(numbers),
        currency=offer.currency,
        now=now,
    )
    for number in numbers:
        holds.raise_to(hold=closing.slot_hold(bounty, number), amount_minor=slot_minor, now=now)
