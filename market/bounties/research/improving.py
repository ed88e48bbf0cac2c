"""Improving: raise the budget of an open research bounty. An offer is never made worse."""

import datetime
import uuid

from market.accounts.models import ApiKey
from market.bounties import posting as bounty_posting
from market.bounties import spending
from market.bounties.improving import NotImprovable
from market.bounties.news import money_json
from market.bounties.pricing import BadOffer
from market.bounties.research import locks, news, posting, pricing, reserving
from market.bounties.research.models import ResearchBounty
from market.common import retrying
from market.common.money import Money
from market.escrow import holds

_Status = ResearchBounty.Status


def improve(*, bounty: ResearchBounty, key: ApiKey, budget: Money, now: datetime.datetime) -> ResearchBounty:
    """Hold what a larger budget has more than the one that stands; the same budget again changes nothing.

    Prices, spec and the terms hash of the funding stay: only more candidates can be paid. ``key`` is the one whose limits count.

    Raises:
        NotImprovable: not open, closing, a smaller budget, another currency, or not allowed any more by the rules in force.
        market.bounties.pricing.BadOffer: beyond the largest budget.
        market.bounties.posting.AgentSuspended: the agent may not offer more.
        market.bounties.spending.KeyRevoked: the key is revoked.
        market.escrow.holds.InsufficientFunds: the agent has too little available for the difference.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
    """
    return retrying.in_transaction(lambda: _improve(bounty.pk, key, budget, now))


def _improve(bounty_id: uuid.UUID, key: ApiKey, budget: Money, now: datetime.datetime) -> ResearchBounty:
    bounty = locks.lock_bounty(bounty_id)
    if bounty.status != _Status.OPEN or bounty.closed_because or now >= bounty.deadline:
        raise NotImprovable(f"{bounty} is not open any more: post a new one.")
    if budget.currency != bounty.currency:
        raise NotImprovable(f"The bounty's currency is {bounty.currency}: there is no exchange.")
    extra_minor = budget.amount_minor - bounty.budget_minor
    if not extra_minor:
        return bounty
    if extra_minor < 0:
        raise NotImprovable(f"{bounty} may only be improved: its budget can't be lowered.")
    if budget.amount_minor > pricing.MAX_BUDGET_MINOR[bounty.currency]:
        raise BadOffer("budget", f"A budget is at most {Money(pricing.MAX_BUDGET_MINOR[bounty.currency], bounty.currency)}.")
    _require_right_to_improve(bounty)
    spending.spend_on_research(key_id=key.pk, research_bounty_id=bounty.pk, amount_minor=extra_minor, currency=bounty.currency, now=now)
    holds.raise_to(hold=reserving.budget_hold(bounty), amount_minor=budget.amount_minor, now=now)
    ResearchBounty.objects.filter(pk=bounty.pk).update(budget_minor=budget.amount_minor)
    bounty.budget_minor = budget.amount_minor
    news.tell_of_bounty(bounty, type="research.improved", actor="agent", budget=money_json(bounty.budget_minor, bounty.currency))
    return bounty


def _require_right_to_improve(bounty: ResearchBounty) -> None:
    if bounty.agent.is_suspended:
        raise bounty_posting.AgentSuspended(f"{bounty.agent} is suspended: it can't improve a bounty until an operator lifts it.")
    have_rules_changed = bounty.policy_version != posting.policy_version()
    if have_rules_changed and not posting.screen(bounty.task.title, bounty.task.description).is_allowed:
        raise NotImprovable(f"The rules now in force do not allow {bounty}: it can't be improved.")
