"""A check that was found later, run over what was accepted before: a trick that is known once must not stay a tip."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from verification import dispatch
from verification.research.models import Candidate, Finding, ResearchTask, Tip

Judge = Callable[[Candidate], str | None]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found: how many accepted candidates it looked at now, and those whose verdict does not stand."""

    looked_at: int
    fallen: tuple[Candidate, ...]


def rejudge(*, check_name: str, check_version: int, judge: Judge, now: datetime.datetime) -> Findings:
    """Run ``judge`` once over every accepted candidate, oldest tips first; it returns a reason code, or None where the verdict stands.

    A tip whose verdict falls is withdrawn. Tips built on it stay while their own verdicts stand: each is judged by itself, as the whole
    tree that it is, and a trick that lives on in it falls with it. Cut off, it goes on where it ended when it is called again.

    Raises:
        whatever ``judge`` raises: nothing is found of that candidate then.
    """
    known = Finding.objects.filter(source=Finding.Source.REJUDGED, check_name=check_name, check_version=check_version)
    accepted = Candidate.objects.filter(status=Candidate.Status.ACCEPTED).exclude(pk__in=known.values("candidate"))
    fallen, looked_at = [], 0
    for candidate in accepted.select_related("task", "tree").order_by("decided_at", "pk").iterator(chunk_size=100):
        reason_code = judge(candidate)
        finding = Finding(
            candidate=candidate,
            source=Finding.Source.REJUDGED,
            check_name=check_name,
            check_version=check_version,
            is_upheld=reason_code is None,
            reason_code=reason_code or "",
            created_at=now,
        )
        if not _keep(finding, now):
            continue  # Another process was there in this moment.
        looked_at += 1
        if reason_code is not None:
            fallen.append(candidate)
    return Findings(looked_at=looked_at, fallen=tuple(fallen))


def withdraw_tip(*, candidate: Candidate, now: datetime.datetime) -> None:
    """Take an accepted candidate out of its task's chain; call it in the transaction that writes the finding.

    Who is replayed against it is rebased on the tip before it, by the next look.
    """
    # Under the task's lock: nobody becomes a tip on top of it in this moment.
    ResearchTask.objects.select_for_update(no_key=True).get(pk=candidate.task_id)
    if Tip.objects.filter(candidate=candidate, withdrawn_at__isnull=True).update(withdrawn_at=now):
        dispatch.nudge_research()
        dispatch.nudge_research_verdicts()


def _keep(finding: Finding, now: datetime.datetime) -> bool:
    with transaction.atomic():
        if not finding.is_upheld:
            withdraw_tip(candidate=finding.candidate, now=now)
        _, is_new = Finding.objects.get_or_create(
            candidate=finding.candidate,
            source=finding.source,
            check_name=finding.check_name,
            check_version=finding.check_version,
            defaults={"is_upheld": finding.is_upheld, "reason_code": finding.reason_code, "created_at": finding.created_at},
        )
    return is_new
