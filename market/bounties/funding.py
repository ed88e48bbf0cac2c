"""Funding: hold the money for every slot and the reserve, freeze terms and offer, and list the task."""

import datetime

from market.accounts.models import ApiKey
from market.bounties import locks, news, posting, spending
from market.bounties.models import Bounty, Offer
from market.common import retrying
from market.escrow import holds
from tasks.kinds import photo
from tasks.models import Task


class NotFundable(Exception):
    """The bounty can't be funded: policy blocked it, it is closed, or its deadline has passed."""


def fund(*, bounty: Bounty, key: ApiKey | None = None, now: datetime.datetime) -> Bounty:
    """Hold the money and open the bounty; an open bounty is returned as it is. All or nothing.

    ``key`` is the one that acts and whose limits count; the one that posted the bounty if none is given.

    Raises:
        NotFundable: blocked, closed, too late, or not allowed any more by the rules in force.
        market.escrow.holds.InsufficientFunds: the agent has too little available.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
        market.bounties.spending.KeyRevoked: the key is revoked.
    """
    return retrying.in_transaction(lambda: _fund(bounty, key, now))


def _fund(bounty: Bounty, key: ApiKey | None, now: datetime.datetime) -> Bounty:
    locked = locks.lock_bounty(bounty.pk)
    if locked.status == Bounty.Status.OPEN:
        return locked
    if locked.status != Bounty.Status.SCREENED or locked.agent.is_suspended:
        raise NotFundable(f"{locked} is {locked.get_status_display()}: it can't be funded.")
    if now >= locked.task.closes_at:
        raise NotFundable(f"The deadline of {locked} has passed: post it again with a later one.")
    terms = photo.PhotoTerms.model_validate(locked.task.terms)
    have_rules_changed = locked.policy_version != posting.policy_version()
    if have_rules_changed and not posting.screen(locked.task.title, terms).is_allowed:
        raise NotFundable(f"The rules now in force do not allow {locked}: post it again to see which.")
    offer = locked.offers.get(version=1)
    slot_minor = offer.reward_minor + offer.fee_minor
    reserve_minor = offer.negative_fee_minor * offer.max_negative_outcomes
    total_minor = slot_minor * locked.slot_count + reserve_minor
    acting_id = key.pk if key else locked.posted_with_id
    spending.spend(key_id=acting_id, bounty=locked, offer_version=1, amount_minor=total_minor, currency=offer.currency, now=now)
    holds.place(
        bounty_id=locked.pk,
        agent_id=locked.agent_id,
        mode=locked.mode,
        currency=offer.currency,
        slot_amounts=[slot_minor] * locked.slot_count,
        reserve_minor=reserve_minor,
        subject=str(locked),
        now=now,
    )
    _open(locked, offer, now)
    return locked


def _open(bounty: Bounty, offer: Offer, now: datetime.datetime) -> None:
    bounty.terms_hash = photo.terms_hash(photo.PhotoTerms.model_validate(bounty.task.terms), offer_document(offer, bounty.slot_count))
    bounty.status, bounty.funded_at = Bounty.Status.OPEN, now
    Bounty.objects.filter(pk=bounty.pk, status=Bounty.Status.SCREENED).update(
        status=bounty.status, funded_at=now, terms_hash=bounty.terms_hash
    )
    Task.objects.filter(pk=bounty.task_id, status=Task.Status.DRAFT).update(status=Task.Status.LISTED)
    bounty.task.status = Task.Status.LISTED
    news.tell_of_bounty(bounty, type="bounty.opened", actor="agent", terms_hash=bounty.terms_hash)


def offer_document(offer: Offer, slot_count: int) -> dict[str, str | int]:
    """Return the offer as it enters the terms hash."""
    return {
        "version": offer.version,
        "currency": offer.currency,
        "reward_minor": offer.reward_minor,
        "fee_minor": offer.fee_minor,
        "negative_fee_minor": offer.negative_fee_minor,
        "max_negative_outcomes": offer.max_negative_outcomes,
        "slot_count": slot_count,
        "deadline": offer.deadline.isoformat(),
    }
