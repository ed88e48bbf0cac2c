"""Challenging: a skeptic stakes on his word that an accepted commit does not hold; the trusted pool then trains all of its runs again."""

import datetime
import uuid

from market.accounts.models import User
from market.bounties.locks import NoBounty
from market.bounties.research import entering, locks, news
from market.bounties.research.models import Challenge, ResearchBounty, ResearchSettlement
from market.common import account_paths, retrying
from market.escrow import bonds, holds
from market.escrow.models import Bond
from tasks import batches, ids, text
from verification.research import challenges
from verification.research.models import Candidate, Finding, Run

STATEMENT_LENGTH = 1000

_Status = Challenge.Status
_ENDS = {challenges.Outcome.STANDS: _Status.DISMISSED, challenges.Outcome.UNKNOWN: _Status.UNDECIDED}


class NotChallengeable(Exception):
    """The candidate was not accepted, its window has closed, or it is challenged already."""


class OwnCandidate(Exception):
    """Nobody deals with himself: its maker, its poster and the owners of its runs can't challenge a candidate."""


def challenge(*, candidate: Candidate, user: User, source: entering.Source, statement: str = "", now: datetime.datetime) -> Challenge:
    """Stake on an accepted candidate being wrong, and have its runs trained again; a second request returns the first.

    Who is right gets his stake back, and what the candidate and its forgers stood for; who is wrong loses it.

    Raises:
        NotChallengeable, OwnCandidate
        market.bounties.locks.NoBounty: the candidate belongs to no research bounty of this mode.
        market.bounties.research.entering.NotYours, WorkerSuspended, market.bounties.posting.AgentSuspended
        market.escrow.holds.InsufficientFunds: the source has less than the stake.
    """
    return retrying.in_transaction(lambda: _open(candidate.pk, user, source, statement, now))


def decide_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """End every challenge whose runs are done and show nothing; return how many. One that is right is upheld by its findings."""
    due = Challenge.objects.filter(status=_Status.OPEN).order_by("created_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _decide(pk, now))

    return sum(batches.drive(sweep="challenges decided", due=due, work=work, limit=limit, now=now))


def _open(candidate_id: uuid.UUID, user: User, source: entering.Source, statement: str, now: datetime.datetime) -> Challenge:
    task_id = Candidate.objects.values_list("task_id", flat=True).get(pk=candidate_id)
    bounty = locks.lock_bounty_of_task(task_id)
    candidate = Candidate.objects.get(pk=candidate_id)
    if source.mode != bounty.mode:
        raise NoBounty(f"No candidate {candidate} in {source.mode} mode.")
    entering.require_own_source(source, user=user, mode=bounty.mode)
    earlier = Challenge.objects.filter(candidate=candidate, challenger=user).first()
    if earlier is not None:
        return earlier
    _require_stranger(candidate, bounty, user)
    settlement = ResearchSettlement.objects.filter(candidate=candidate, outcome="ACCEPTED").first()
    if settlement is None or now >= settlement.final_at or candidate.final_at is not None:
        raise NotChallengeable(f"{candidate} was not accepted, or its challenge window has closed.")
    if Challenge.objects.filter(candidate=candidate, status=_Status.OPEN).exists():
        raise NotChallengeable(f"{candidate} is challenged already.")
    written = Challenge(
        candidate=candidate,
        bounty=bounty,
        challenger=user,
        untrusted_statement=text.strip_to_plain(statement, max_length=STATEMENT_LENGTH),
        created_at=now,
    )
    written.bond = bonds.place(
        subject=ids.encode("chl", written.pk),
        mode=bounty.mode,
        source_path=entering.source_path(source, mode=bounty.mode, currency=bounty.currency),
        currency=bounty.currency,
        amount_minor=bounty.challenge_stake_minor,
        now=now,
    )
    written.save(force_insert=True)
    challenges.ask(candidate=candidate)
    news.tell_of_challenge(bounty, written, type="challenge.opened", actor="worker")
    return written


def _require_stranger(candidate: Candidate, bounty: ResearchBounty, user: User) -> None:
    owners = Run.objects.filter(candidate=candidate, owner=user)
    if user.pk in (candidate.claimant_id, bounty.agent.owner_id) or owners.exists():
        raise OwnCandidate(f"You made, posted or replayed {candidate}: somebody else must challenge it.")


def _decide(challenge_id: uuid.UUID, now: datetime.datetime) -> bool:
    bounty = locks.lock_bounty(Challenge.objects.values_list("bounty_id", flat=True).get(pk=challenge_id))
    found = Challenge.objects.select_related("bond", "candidate").get(pk=challenge_id)
    if found.status != _Status.OPEN:
        return False
    outcome = challenges.conclude(candidate=found.candidate, since=found.created_at, now=now)
    if outcome not in _ENDS:
        return False
    if Finding.objects.filter(candidate=found.candidate_id, is_upheld=False, applied__isnull=True).exists():
        return False  # Something else was found meanwhile: it is upheld when that is applied.
    found.status, found.decided_at = _ENDS[outcome], now
    Challenge.objects.filter(pk=challenge_id, status=_Status.OPEN).update(status=found.status, decided_at=now)
    bond: Bond = found.bond
    if found.status == _Status.UNDECIDED:
        bonds.give_back(bond=bond, now=now)
    else:
        # It pays for the runs that it asked for.
        fees = account_paths.platform_fees(mode=bounty.mode, currency=bounty.currency)
        bonds.lose(bond=bond, parts=[holds.Part(fees, bond.amount_minor, "challenge_lost")], now=now)
    news.tell_of_challenge(bounty, found, type=f"challenge.{found.status.lower()}", actor="machine")
    return True
