"""Funding: hold the whole budget, freeze spec and offer, and list the task."""

import datetime
import hashlib

import rfc8785

from market.accounts.models import ApiKey
from market.bounties import spending
from market.bounties.funding import NotFundable
from market.bounties.research import locks, news, posting
from market.bounties.research.models import ResearchBounty
from market.common import retrying
from market.escrow import holds
from verification.research import posting as task_posting

_Status = ResearchBounty.Status


def fund(*, bounty: ResearchBounty, key: ApiKey | None = None, now: datetime.datetime) -> ResearchBounty:
    """Hold the budget and open the bounty; an open bounty is returned as it is. All or nothing.

    ``key`` is the one that acts and whose limits count; the one that posted the bounty if none is given.

    Raises:
        market.bounties.funding.NotFundable: blocked, closed, too late, or not allowed any more by the rules in force.
        market.escrow.holds.InsufficientFunds: the agent has too little available.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
        market.bounties.spending.KeyRevoked: the key is revoked.
    """
    return retrying.in_transaction(lambda: _fund(bounty, key, now))


def terms_hash(bounty: ResearchBounty) -> str:
    """Return the SHA-256, in hexadecimal, of the RFC 8785 JSON of ``{"offer": ..., "spec_digest": ...}``."""
    return hashlib.sha256(rfc8785.dumps({"spec_digest": bounty.task.spec_digest, "offer": offer_document(bounty)})).hexdigest()


def offer_document(bounty: ResearchBounty) -> dict[str, str | int]:
    """Return the offer as it enters the terms hash."""
    return {
        "currency": bounty.currency,
        "budget_minor": bounty.budget_minor,
        "reward_per_effect_minor": bounty.reward_per_effect_minor,
        "cap_minor": bounty.cap_minor,
        "run_fee_minor": bounty.run_fee_minor,
        "max_runs": bounty.max_runs,
        "fee_bps": bounty.fee_bps,
        "bond_minor": bounty.bond_minor,
        "challenge_stake_minor": bounty.challenge_stake_minor,
        "challenge_window_s": bounty.challenge_window_s,
        "deadline": bounty.deadline.isoformat(),
    }


def _fund(bounty: ResearchBounty, key: ApiKey | None, now: datetime.datetime) -> ResearchBounty:
    locked = locks.lock_bounty(bounty.pk)
    if locked.status == _Status.OPEN:
        return locked
    if locked.status != _Status.SCREENED or locked.agent.is_suspended:
        raise NotFundable(f"{locked} is {locked.get_status_display()}: it can't be funded.")
    if now >= locked.deadline:
        raise NotFundable(f"The deadline of {locked} has passed: post it again with a later one.")
    have_rules_changed = locked.policy_version != posting.policy_version()
    if have_rules_changed and not posting.screen(locked.task.title, locked.task.description).is_allowed:
        raise NotFundable(f"The rules now in force do not allow {locked}: post it again to see which.")
    spending.spend_on_research(
        key_id=key.pk if key else locked.posted_with_id,
        research_bounty_id=locked.pk,
        amount_minor=locked.budget_minor,
        currency=locked.currency,
        now=now,
    )
    holds.place_budget(
        bounty_id=locked.pk,
        agent_id=locked.agent_id,
        mode=locked.mode,
        currency=locked.currency,
        budget_minor=locked.budget_minor,
        subject=str(locked),
        now=now,
    )
    _open(locked, now)
    return locked


def _open(bounty: ResearchBounty, now: datetime.datetime) -> None:
    bounty.status, bounty.funded_at, bounty.terms_hash = _Status.OPEN, now, terms_hash(bounty)
    ResearchBounty.objects.filter(pk=bounty.pk, status=_Status.SCREENED).update(
        status=bounty.status, funded_at=now, terms_hash=bounty.terms_hash
    )
    task_posting.list_task(task=bounty.task)
    news.tell_of_bounty(bounty, type="research.opened", actor="agent", terms_hash=bounty.terms_hash)
