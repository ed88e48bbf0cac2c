"""What a finding costs those whom it is about: bonds and stakes that still stand are lost, and what is not payable yet goes back.

Paid is paid: a reward or a run's pay that has become payable stays, whatever is found later.
"""

import datetime
import uuid

from market.accounts.models import Agent
from market.bounties import maturing as deposit_maturing
from market.bounties.news import money_json
from market.bounties.research import closing, locks, news, paying
from market.bounties.research.models import AppliedFinding, CaseReserve, Challenge, ResearchBounty, ResearchSettlement, RunPayment
from market.common import account_paths, retrying
from market.escrow import bonds, holds, platform
from market.escrow.models import Bond
from tasks import batches, ids
from verification.research import candidates
from verification.research.models import Finding, Run


def apply_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Apply every finding against a verdict or a run that has not been applied, oldest first; return how many."""
    due = Finding.objects.filter(is_upheld=False, applied__isnull=True, candidate__reserve__isnull=False).order_by("created_at", "pk")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _apply(pk, now))

    return sum(batches.drive(sweep="research findings applied", due=due, work=work, limit=limit, now=now))


def _apply(finding_id: uuid.UUID, now: datetime.datetime) -> bool:
    finding = Finding.objects.select_related("candidate", "run").get(pk=finding_id)
    bounty = locks.lock_bounty_of_task(finding.candidate.task_id)
    if AppliedFinding.objects.filter(finding=finding).exists():
        return False
    challenge = _challenge_of(finding)
    winner_path = None
    if challenge:
        winner = paying.profile_of(challenge.challenger_id, bounty.mode)
        winner_path = account_paths.worker_earned(mode=bounty.mode, worker_id=winner.pk, currency=bounty.currency)
    bond_minor = _lose_bond(finding, bounty, winner_path, now)
    stake_minor, won_minor, stake_matures_at = _lose_stake(finding.run, bounty, winner_path, now)
    taken_minor = _take_reward_back(finding, bounty, now) + _take_pay_back(finding.run, bounty, now)
    AppliedFinding.objects.create(
        finding=finding, bounty=bounty, taken_back_minor=taken_minor, bond_minor=bond_minor, stake_minor=stake_minor, applied_at=now
    )
    if challenge:
        _uphold(challenge, bounty, finding, bond_minor + won_minor, stake_matures_at, now)
    news.tell_of_candidate(
        bounty,
        finding.candidate,
        type="candidate.found_out",
        actor="machine",
        finding_reason=finding.reason_code,
        taken_back=money_json(taken_minor, bounty.currency),
    )
    closing.wind_down(bounty=bounty, actor="machine", now=now)
    return True


def _challenge_of(finding: Finding) -> Challenge | None:
    """Return the challenge that wins by a finding: the open one, or one that was upheld and goes on winning by its other runs."""
    won_or_open = Challenge.objects.filter(candidate=finding.candidate_id, status__in=(Challenge.Status.OPEN, Challenge.Status.UPHELD))
    return won_or_open.filter(matured_at=None).order_by("created_at").first()


def _lose_bond(finding: Finding, bounty: ResearchBounty, winner_path: str | None, now: datetime.datetime) -> int:
    bond = CaseReserve.objects.select_related("bond").get(candidate=finding.candidate_id).bond
    if bond.status != Bond.Status.PLACED:
        return 0
    payee = winner_path or account_paths.platform_fees(mode=bounty.mode, currency=bounty.currency)
    bonds.lose(bond=bond, parts=[holds.Part(payee, bond.amount_minor, "bond_won" if winner_path else "bond_lost")], now=now)
    return bond.amount_minor


def _lose_stake(
    run: Run | None, bounty: ResearchBounty, winner_path: str | None, now: datetime.datetime
) -> tuple[int, int, datetime.datetime]:
    """Return what the owner of a forged run lost, the challenger's part of it, and when the money in it would have been payable."""
    if run is None or run.owner_id is None or run.is_trusted_only:
        return 0, 0, now
    filled = RunPayment.objects.filter(worker=run.owner_id, currency=bounty.currency, run__mode=bounty.mode, staked_minor__gt=0)
    ends = list(filled.filter(matured_at=None).values_list("matures_at", flat=True))
    lost_minor, won_minor = paying.forfeit_stake(run=run, currency=bounty.currency, challenger_path=winner_path, now=now)
    return lost_minor, won_minor, max([now, *ends])


def _take_reward_back(finding: Finding, bounty: ResearchBounty, now: datetime.datetime) -> int:
    unpaid = ResearchSettlement.objects.filter(candidate=finding.candidate_id, matured_at=None, taken_back_at=None, reward_minor__gt=0)
    settlement = unpaid.first()
    if settlement is None or not unpaid.update(taken_back_at=now):
        return 0
    agent = _agent_path(bounty)
    reward = holds.Part(agent, settlement.reward_minor, "reward_taken_back")
    platform.take_back(mode=bounty.mode, worker_id=settlement.worker_id, currency=bounty.currency, parts=[reward], effect=str(settlement))
    fee = holds.Part(agent, settlement.fee_minor, "fee_taken_back")
    platform.pay(mode=bounty.mode, currency=bounty.currency, parts=[fee], effect=str(settlement))
    candidates.make_final(candidate=finding.candidate, now=now)
    news.tell_of_settlement(bounty, settlement, type="settlement.taken_back", actor="machine")
    return settlement.reward_minor + settlement.fee_minor


def _take_pay_back(run: Run | None, bounty: ResearchBounty, now: datetime.datetime) -> int:
    if run is None:
        return 0
    unpaid = RunPayment.objects.filter(run=run, matured_at=None, taken_back_at=None)
    payment = unpaid.first()
    if payment is None or not unpaid.update(taken_back_at=now):
        return 0
    # What went into the stake is lost with it. Of the rest, each gets what he paid (`paying`).
    held_minor = payment.amount_minor - payment.platform_minor
    to_agent = held_minor - min(payment.staked_minor, held_minor)
    to_platform = payment.amount_minor - payment.staked_minor - to_agent
    fees = account_paths.platform_fees(mode=bounty.mode, currency=bounty.currency)
    parts = [holds.Part(_agent_path(bounty), to_agent, "pay_taken_back"), holds.Part(fees, to_platform, "pay_taken_back")]
    platform.take_back(
        mode=bounty.mode, worker_id=payment.worker_id, currency=bounty.currency, parts=parts, effect=ids.encode("rpl", run.pk)
    )
    return to_agent


def _uphold(
    challenge: Challenge,
    bounty: ResearchBounty,
    finding: Finding,
    award_minor: int,
    stake_matures_at: datetime.datetime,
    now: datetime.datetime,
) -> None:
    # Money that a lost bond or stake brings is payable no sooner than where it came from: else losing one on purpose, to
    # oneself under another name, would be a way around the maturity of deposits.
    bond = CaseReserve.objects.select_related("bond").get(candidate=finding.candidate_id).bond
    ends = [stake_matures_at, deposit_maturing.deposits_mature_at(agent_id=bounty.agent_id, settled_at=now)]
    ends += [deposit_maturing.deposits_mature_at(agent_id=agent_id, settled_at=now) for agent_id in _agents_of(bond)]
    is_first = challenge.status == Challenge.Status.OPEN
    challenge.status, challenge.decided_at = Challenge.Status.UPHELD, challenge.decided_at or now
    challenge.award_minor += award_minor
    challenge.matures_at = max([*ends, *([challenge.matures_at] if challenge.matures_at else [])])
    Challenge.objects.filter(pk=challenge.pk).update(
        status=challenge.status,
        decided_at=challenge.decided_at,
        award_minor=challenge.award_minor,
        matures_at=challenge.matures_at,
    )
    if is_first:
        bonds.give_back(bond=Bond.objects.get(pk=challenge.bond_id), now=now)
        news.tell_of_challenge(bounty, challenge, type="challenge.upheld", actor="machine")


def _agents_of(bond: Bond) -> list[uuid.UUID]:
    """Return the agent whose money a bond was, if it was an agent's."""
    _, kind, holder, *_ = bond.source_path.split(":")
    return list(Agent.objects.filter(pk=uuid.UUID(hex=holder)).values_list("pk", flat=True)) if kind == "agent" else []


def _agent_path(bounty: ResearchBounty) -> str:
    return account_paths.agent_available(mode=bounty.mode, agent_id=bounty.agent_id, currency=bounty.currency)
