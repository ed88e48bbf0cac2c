"""The events of a bounty's life, written in the transaction of the change they tell of."""

from typing import Literal

from market.bounties.models import Bounty, Settlement
from market.common.money import Money
from market.events import feed
from tasks import ids
from tasks.models import Claim, Submission
from verification.models import Verdict

Actor = Literal["agent", "worker", "machine", "reviewer", "poster", "clock", "operator"]

_ACTORS: dict[str, Actor] = {
    Verdict.Decider.MACHINE: "machine",
    Verdict.Decider.REVIEWER: "reviewer",
    Verdict.Decider.POSTER: "poster",
    Verdict.Decider.SILENCE: "clock",
    Verdict.Decider.APPEAL: "reviewer",
    Verdict.Decider.CLOCK: "clock",
}


def actor_of(verdict: Verdict) -> Actor:
    """Return who an event about this verdict names."""
    return _ACTORS[verdict.decided_by]


def tell_of_bounty(bounty: Bounty, *, type: str, actor: Actor, **more: object) -> None:  # noqa: A002
    """Record an event about a bounty as it is now."""
    data = {"bounty": str(bounty), "status": bounty.status, "closed_because": bounty.closed_because, **more}
    feed.record(agent=bounty.agent, type=type, subject=str(bounty), actor=actor, data=data)


def tell_of_claim(bounty: Bounty, claim: Claim, *, type: str, actor: Actor) -> None:  # noqa: A002
    """Record an event about a claim as it is now. It does not say who the worker is."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "claim": str(claim),
        "status": claim.status,
        "expires_at": claim.expires_at.isoformat(),
    }
    feed.record(agent=bounty.agent, type=type, subject=str(claim), actor=actor, data=data)


def tell_of_submission(bounty: Bounty, submission: Submission, *, type: str, actor: Actor, **more: object) -> None:  # noqa: A002
    """Record an event about a submission as it is now."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "claim": ids.encode("clm", submission.claim_id),
        "submission": str(submission),
        "number": submission.number,
        "kind": submission.kind,
        "status": submission.status,
        **more,
    }
    feed.record(agent=bounty.agent, type=type, subject=str(submission), actor=actor, data=data)


def tell_of_settlement(bounty: Bounty, settlement: Settlement, *, type: str, actor: Actor) -> None:  # noqa: A002
    """Record an event about a settlement."""
    data: dict[str, object] = {
        "bounty": str(bounty),
        "submission": ids.encode("sub", settlement.submission_id),
        "kind": settlement.kind,
        "paid": money_json(settlement.worker_minor, settlement.currency),
        "fee": money_json(settlement.fee_minor, settlement.currency),
    }
    feed.record(agent=bounty.agent, type=type, subject=str(settlement), actor=actor, data=data)


def money_json(amount_minor: int, currency: str) -> dict[str, str]:
    """Write an amount as it stands in JSON."""
    return {"amount": Money(amount_minor, currency).decimal_text(), "currency": currency}
