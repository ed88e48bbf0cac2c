"""Verdicts: one first decision on a submission, and one on its appeal. What follows from them happens in the market."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

from django.db import models, transaction

from tasks import leases
from tasks.kinds import photo
from tasks.models import Submission
from verification import dispatch, policy
from verification.checks.result import CheckResult
from verification.models import Case, CheckRun, Review, Verdict

_REASON = re.compile(r"[a-z_]{0,40}")
# What a criterion says where a person saw it otherwise than the machine, or where the machine had said nothing.
DECIDED_BY_PERSON = "decided_by_person"


class CriterionOutcome(TypedDict):
    """One line of a verdict: enums only, never a worker's or a reviewer's words."""

    criterion: str
    outcome: str
    reason_code: str


class AlreadyDecided(Exception):
    """The submission has its verdict (or its appeal has): read that one."""


class NotAppealed(Exception):
    """Only a rejection can be decided once more, by an appeal."""


class MalformedVerdict(ValueError):
    """A criterion that was not published, an unknown outcome, or a rejection that names no criterion."""


class OtherTerms(ValueError):
    """The verdict speaks of other terms than the ones the case was opened with."""


def record(
    *,
    submission: Submission,
    outcome: Verdict.Outcome | str,
    decided_by: Verdict.Decider | str,
    criteria: Sequence[CriterionOutcome],
    terms_hash: str,
    now: datetime.datetime,
) -> Verdict:
    """Write the next verdict on a submission and close its case; the market is told after commit.

    The case's row is locked, so that of two deciders at once the second learns that he is late.

    Raises:
        AlreadyDecided: it has a verdict, or its appeal has one.
        NotAppealed: an appeal's verdict on what was not rejected.
        MalformedVerdict, OtherTerms: see there.
    """
    outcome, decided_by = Verdict.Outcome(outcome), Verdict.Decider(decided_by)
    _require_published(submission, outcome, criteria)
    with transaction.atomic():
        case = Case.objects.select_for_update(no_key=True).get(pk=submission.pk)
        if case.terms_hash != terms_hash:
            raise OtherTerms(f"The case of {submission} was opened under other terms.")
        earlier = list(Verdict.objects.filter(submission=submission).order_by("round"))
        _require_turn(submission, decided_by, earlier)
        verdict = Verdict.objects.create(
            submission=submission,
            round=len(earlier) + 1,
            outcome=outcome,
            decided_by=decided_by,
            criteria=list(criteria),
            terms_hash=terms_hash,
            created_at=now,
        )
        Case.objects.filter(pk=case.pk).update(stage=Case.Stage.DECIDED, lease_state=leases.LeaseState.DONE, lease_until=None)
        # Nobody needs to look first at what is decided.
        Review.objects.filter(submission=submission, kind=Review.Kind.FIRST, decision="").update(lease_state=leases.LeaseState.DEAD)
        dispatch.nudge_verdicts()
    return verdict


def unapplied() -> models.QuerySet[Verdict]:
    """Return verdicts the market has not applied yet, oldest first."""
    return Verdict.objects.filter(applied_at=None).order_by("created_at", "submission_id", "round")


def criteria_of(submission: Submission, *, decided: Mapping[str, Verdict.Outcome] | None = None) -> list[CriterionOutcome]:
    """Return a line for each criterion the checks spoke of, in published order; a person's word in ``decided`` goes first.

    ``decided`` maps a criterion's code, or "" for all of them, to ACCEPTED or REJECTED.
    """
    said = policy.by_criterion(
        _result(run) for run in CheckRun.objects.filter(submission=submission).order_by("check_name", "criterion", "check_version")
    )
    return [
        _line(code, said.get(code), (decided or {}).get(code) or (decided or {}).get(""))
        for code in published_codes(submission)
        if code in said or code in (decided or {}) or "" in (decided or {})
    ]


def published_codes(submission: Submission) -> list[str]:
    """Return the codes of the criteria the submission is judged by."""
    return [criterion.code for criterion in photo.criteria(photo.PhotoTerms.model_validate(submission.task.terms))]


def _result(run: CheckRun) -> CheckResult:
    return CheckResult(run.criterion, CheckRun.Outcome(run.outcome), run.reason_code, run.score)


def _line(code: str, said: CheckResult | None, person: Verdict.Outcome | None) -> CriterionOutcome:
    if person is not None:
        outcome = CheckRun.Outcome.PASS if person == Verdict.Outcome.ACCEPTED else CheckRun.Outcome.FAIL
        if said is None or said.outcome != outcome:
            return {"criterion": code, "outcome": outcome.value, "reason_code": DECIDED_BY_PERSON}
    assert said is not None
    return {"criterion": code, "outcome": said.outcome.value, "reason_code": said.reason_code}


def _require_published(submission: Submission, outcome: Verdict.Outcome, criteria: Sequence[CriterionOutcome]) -> None:
    published = published_codes(submission)
    for line in criteria:
        if line["criterion"] not in published:
            raise MalformedVerdict(f"{line['criterion'][:40]!r} is not a criterion of {submission}; published are {', '.join(published)}.")
        if line["outcome"] not in CheckRun.Outcome.values or not _REASON.fullmatch(line["reason_code"]):
            raise MalformedVerdict(f"The verdict's line on {line['criterion']} has an unknown outcome or a malformed reason code.")
    if outcome == Verdict.Outcome.REJECTED and not any(line["outcome"] == CheckRun.Outcome.FAIL for line in criteria):
        raise MalformedVerdict(f"A rejection of {submission} must name the published criterion that failed.")


def _decides_appeal(submission: Submission, decided_by: Verdict.Decider) -> bool:
    # The clock decides first looks and appeals: once there is an appeal, its first look is over.
    has_timed_out = decided_by == Verdict.Decider.CLOCK and Review.objects.filter(submission=submission, kind=Review.Kind.APPEAL).exists()
    return decided_by == Verdict.Decider.APPEAL or has_timed_out


def _require_turn(submission: Submission, decided_by: Verdict.Decider, earlier: Sequence[Verdict]) -> None:
    if not _decides_appeal(submission, decided_by):
        if earlier:
            raise AlreadyDecided(f"{submission} was decided before: {earlier[-1].get_outcome_display()}.")
        return
    if not earlier or earlier[0].outcome != Verdict.Outcome.REJECTED:
        raise NotAppealed(f"{submission} was not rejected: there is nothing to appeal.")
    if len(earlier) > 1:
        raise AlreadyDecided(f"The appeal of {submission} was decided before.")
