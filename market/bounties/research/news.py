"""The events of a research bounty's life, written in the transaction of the change they tell of. They name no worker and no owner."""

from market.bounties.news import Actor, money_json
from market.bounties.research.models import Challenge, ResearchBounty, ResearchSettlement, RunPayment
from market.events import feed
from tasks import ids
from verification.research.models import Candidate


def tell_of_bounty(bounty: ResearchBounty, *, type: str, actor: Actor, **more: object) -> None:  # noqa: A002
    """Record an event about a research bounty as it is now."""
    data = {"bounty": str(bounty), "status": bounty.status, "closed_because": bounty.closed_because, **more}
    feed.record(agent=bounty.agent, type=type, subject=str(bounty), actor=actor, data=data)


def tell_of_candidate(bounty: ResearchBounty, candidate: Candidate, *, type: str, actor: Actor, **more: object) -> None:  # noqa: A002
    """Record an event about a candidate as it is now."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "candidate": str(candidate),
        "place": candidate.place,
        "status": candidate.status,
        "reason_code": candidate.reason_code,
        **more,
    }
    feed.record(agent=bounty.agent, type=type, subject=str(candidate), actor=actor, data=data)


def tell_of_settlement(bounty: ResearchBounty, settlement: ResearchSettlement, *, type: str, actor: Actor) -> None:  # noqa: A002
    """Record an event about what a verdict paid."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "candidate": ids.encode("cnd", settlement.candidate_id),
        "settlement": str(settlement),
        "outcome": settlement.outcome,
        "paid": money_json(settlement.reward_minor, settlement.currency),
        "fee": money_json(settlement.fee_minor, settlement.currency),
        "final_at": settlement.final_at.isoformat(),
    }
    feed.record(agent=bounty.agent, type=type, subject=str(settlement), actor=actor, data=data)


def tell_of_run(bounty: ResearchBounty, payment: RunPayment, *, type: str, actor: Actor) -> None:  # noqa: A002
    """Record an event about the pay of a run. What the platform paid of it is no matter of the agent's."""
    run = ids.encode("rpl", payment.run_id)
    paid = money_json(payment.amount_minor - payment.platform_minor, payment.currency)
    data: dict[str, object] = {"bounty": str(bounty), "run": run, "reason": payment.reason, "paid": paid}
    feed.record(agent=bounty.agent, type=type, subject=run, actor=actor, data=data)


def tell_of_challenge(bounty: ResearchBounty, challenge: Challenge, *, type: str, actor: Actor) -> None:  # noqa: A002
    """Record an event about a challenge as it is now."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "candidate": ids.encode("cnd", challenge.candidate_id),
        "challenge": str(challenge),
        "status": challenge.status,
    }
    feed.record(agent=bounty.agent, type=type, subject=str(challenge), actor=actor, data=data)
