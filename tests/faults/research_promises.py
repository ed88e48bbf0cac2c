"""What must be true of research bounties when nothing waits for a sweeper any more. Each breach is one line."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import QuerySet

from market.bounties.research import paying
from market.bounties.research.models import CaseReserve, Challenge, ResearchBounty, ResearchSettlement
from market.escrow.models import Bond
from tasks import leases
from verification.research import files
from verification.research.models import Artefact, Candidate, DataFile, Run, TrustedJob

_WAITS = (leases.LeaseState.READY, leases.LeaseState.LEASED)
_LIVING = (Run.Stage.OPEN, Run.Stage.SEALED, Run.Stage.REVEALED, Run.Stage.HANDED_IN)


def broken() -> list[str]:
    """Return every breach."""
    return [*money(), *bonds(), *stuck(), *stored()]


def money() -> Iterator[str]:
    """Every verdict is settled, every run that earned something is paid, every forger has paid, and each only once."""
    decided = Candidate.objects.filter(status__in=Candidate.DECIDED, reserve__isnull=False)
    yield from (f"{candidate} has no settlement" for candidate in decided.filter(settlement__isnull=True))
    yield from (f"{run} is not paid" for run in paying.unpaid())
    yield from (f"{run} is not paid, a calibration" for run in paying.unpaid_calibrations())
    yield from (f"{run} cost its owner nothing" for run in paying.unforfeited())
    paid = ResearchSettlement.objects.filter(matured_at__isnull=False, candidate__final_at__isnull=True)
    yield from (f"{settlement} matured before its candidate was final" for settlement in paid)
    ended = ResearchBounty.objects.exclude(status=ResearchBounty.Status.OPEN)
    yield from (f"{bounty} has ended and reserves {bounty.reserved_minor}" for bounty in ended.exclude(reserved_minor=0))


def bonds() -> Iterator[str]:
    """A bond stands exactly as long as its candidate or challenge may still lose it."""
    for reserve in CaseReserve.objects.select_related("bond", "candidate"):
        candidate = reserve.candidate
        is_over = candidate.status == Candidate.Status.LAPSED or candidate.final_at is not None
        if is_over == (reserve.bond.status == Bond.Status.PLACED):
            yield f"the bond of {candidate}, which is {candidate.status}, is {reserve.bond.status}"
    for challenge in Challenge.objects.select_related("bond"):
        if (challenge.status == Challenge.Status.OPEN) != (challenge.bond.status == Bond.Status.PLACED):
            yield f"the stake of {challenge}, which is {challenge.status}, is {challenge.bond.status}"


def stuck() -> Iterator[str]:
    """Whatever is not decided waits for somebody who can come: an owner, the pool, or the candidate before it."""
    for candidate in Candidate.objects.filter(status__in=Candidate.UNDECIDED):
        if candidate.lease_state != leases.LeaseState.READY:
            yield f"{candidate} is {candidate.lease_state}"
        jobs, runs = TrustedJob.objects.filter(candidate=candidate), Run.objects.filter(task=candidate.task_id, stage__in=_LIVING)
        earlier = Candidate.objects.filter(task=candidate.task_id, place__lt=candidate.place)
        waits_for: dict[Candidate.Status, QuerySet[Any]] = {
            Candidate.Status.SMOKE: jobs.filter(lease_state__in=_WAITS),
            Candidate.Status.REPLAYING: runs,
            Candidate.Status.WAITING: earlier.filter(status__in=(Candidate.Status.SEALED, *Candidate.UNDECIDED)),
        }
        if candidate.status not in waits_for or not waits_for[Candidate.Status(candidate.status)].exists():
            yield f"{candidate} is {candidate.status} and waits for nobody"
    for run in Run.objects.filter(stage=Run.Stage.HANDED_IN):
        if not TrustedJob.objects.filter(run=run, lease_state__in=_WAITS).exists():
            yield f"{run} is handed in and waits for nobody"
    tokens = Run.objects.filter(lease_state=leases.LeaseState.LEASED, lease_until__isnull=True)
    yield from (f"{run} is leased for ever" for run in tokens)


def stored() -> Iterator[str]:
    """Every file that a row names is there, and every file has the bytes that its name says."""
    root = Path(default_storage.path("research"))
    for path in root.rglob("*"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"{path.relative_to(root)} has other bytes than its name says"
    named = {files.checkpoint_name(sha256) for sha256 in Artefact.objects.values_list("sha256", flat=True)}
    named |= {files.data_name(sha256) for sha256 in DataFile.objects.values_list("sha256", flat=True)}
    yield from (f"{name} is not stored" for name in sorted(named) if not default_storage.exists(name))
