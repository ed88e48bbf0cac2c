"""Entering: a stranger's commit comes in with its bond, and what it may cost is reserved, all in one transaction."""

import datetime
from collections.abc import Mapping

from market.accounts.models import Agent, User
from market.bounties.posting import AgentSuspended
from market.bounties.research import locks, news, reserving
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.common import account_paths, retrying
from market.escrow import bonds
from tasks import ids
from tasks.models import WorkerProfile
from verification.research import candidates
from verification.research.models import Candidate

# Where a bond comes from, and goes back to: what an agent may spend, or what a worker may have paid out. (Not what he has merely
# earned: that is spoken for by the settlements it will mature with.)
Source = Agent | WorkerProfile


class NotOpen(Exception):
    """The research bounty takes no candidates: it is not funded, it is closing, or its deadline has passed."""


class NotYours(Exception):
    """The agent or worker that is to place the bond belongs to somebody else, or to the other mode."""


class OwnBounty(Exception):
    """Nobody deals with himself: who posted a research bounty sends no candidate to it."""


class WorkerSuspended(Exception):
    """The worker may not send candidates until an operator lifts the suspension."""


def announce(*, bounty: ResearchBounty, user: User, source: Source, sealed_sha256: str, now: datetime.datetime) -> Candidate:
    """Keep a place for a commit that is sent later (`submit` with ``announced``); its bond and its cost are set aside now.

    Raises:
        NotOpen, NotYours, OwnBounty, WorkerSuspended, market.bounties.posting.AgentSuspended
        market.bounties.research.reserving.BudgetSpent: the budget can't pay another candidate now.
        market.escrow.holds.InsufficientFunds: the source has less than the bond.
        verification.research.candidates: what `announce` raises.
    """

    def work() -> Candidate:
        locked = _enter(bounty, user, source, now)
        candidate = candidates.announce(task=locked.task, claimant=user, sealed_sha256=sealed_sha256, now=now)
        if _back(locked, candidate, source, now):
            news.tell_of_candidate(locked, candidate, type="candidate.announced", actor="worker")
        return candidate

    return retrying.in_transaction(work)


def submit(
    *,
    bounty: ResearchBounty,
    user: User,
    source: Source,
    edited: Mapping[str, str],
    parent_digest: str,
    reported_gain: float | None = None,
    note: str = "",
    announced: Candidate | None = None,
    salt: str = "",
    now: datetime.datetime,
) -> Candidate:
    """Take a commit in: the full text of the files it edits, on the tree that it was made on, with its bond.

    One that was announced has its bond and its place already.

    Raises:
        NotOpen, NotYours, OwnBounty, WorkerSuspended, market.bounties.posting.AgentSuspended
        market.bounties.research.reserving.BudgetSpent: the budget can't pay another candidate now.
        market.escrow.holds.InsufficientFunds: the source has less than the bond.
        verification.research.candidates: what `receive` raises; the bond is not placed then.
    """

    def work() -> Candidate:
        locked = _enter(bounty, user, source, now, announced)
        if announced is None:
            # Before the commit is looked at, which costs more than this.
            reserving.require_room(locked)
        candidate = candidates.receive(
            task=locked.task,
            claimant=user,
            edited=edited,
            parent_digest=parent_digest,
            reported_gain=reported_gain,
            note=note,
            announced=announced,
            salt=salt,
            now=now,
        )
        _back(locked, candidate, source, now)
        news.tell_of_candidate(locked, candidate, type="candidate.received", actor="worker")
        return candidate

    return retrying.in_transaction(work)


def source_path(source: Source, *, mode: str, currency: str) -> str:
    """Name the account that a bond or a stake of this agent or worker comes from."""
    if isinstance(source, Agent):
        return account_paths.agent_available(mode=mode, agent_id=source.pk, currency=currency)
    return account_paths.worker_payable(mode=mode, worker_id=source.pk, currency=currency)


def require_own_source(source: Source, *, user: User, mode: str) -> None:
    """Check that a user may place bonds from an agent or worker.

    Raises:
        NotYours: it is somebody else's, or of the other mode.
        market.bounties.posting.AgentSuspended, WorkerSuspended
    """
    holder_id = source.owner_id if isinstance(source, Agent) else source.pk
    if holder_id != user.pk or source.mode != mode:
        raise NotYours(f"The bond must come from an agent or worker of yours in {mode} mode.")
    if source.is_suspended:
        if isinstance(source, Agent):
            raise AgentSuspended(f"{source} is suspended: it can't place a bond until an operator lifts it.")
        raise WorkerSuspended("You are suspended: an operator must lift that before you send candidates.")


def _enter(
    bounty: ResearchBounty, user: User, source: Source, now: datetime.datetime, announced: Candidate | None = None
) -> ResearchBounty:
    locked = locks.lock_bounty(bounty.pk)
    require_own_source(source, user=user, mode=locked.mode)
    if user.pk in (locked.agent.owner_id, locked.task.owner_id):
        raise OwnBounty(f"You posted {locked}: others must send candidates to it.")
    # What was announced in time may still be sent: whether its own time has passed is the facts' to say.
    if announced is None and (locked.status != ResearchBounty.Status.OPEN or locked.closed_because or now >= locked.deadline):
        raise NotOpen(f"{locked} takes no candidates any more, or not yet.")
    return locked


def _back(bounty: ResearchBounty, candidate: Candidate, source: Source, now: datetime.datetime) -> bool:
    """Place the bond and reserve the cost; return False if that was done before."""
    if CaseReserve.objects.filter(candidate=candidate).exists():
        return False
    bond = bonds.place(
        subject=ids.encode("cnd", candidate.pk),
        mode=bounty.mode,
        source_path=source_path(source, mode=bounty.mode, currency=bounty.currency),
        currency=bounty.currency,
        amount_minor=bounty.bond_minor,
        now=now,
    )
    reserving.reserve(bounty=bounty, candidate=candidate, bond=bond, now=now)
    return True
