"""Submitting: hand in evidence, or a truthful "it can't be done", under a claim; and the one retake."""

import datetime
from collections.abc import Sequence

from market.bounties import claiming, locks, news, pricing, settlement
from market.bounties.models import Bounty
from market.common import retrying
from market.common.money import Money
from tasks import claims, submissions
from tasks.evidence import TakenIn
from tasks.kinds import photo
from tasks.models import Claim, Submission, WorkerProfile
from verification import pipeline


class NoRetake(Exception):
    """The claim offers no retake: its submission is not rejected, the retake is used, or its time is over."""


def submit(
    *,
    claim: Claim,
    worker: WorkerProfile,
    files: Sequence[TakenIn],
    capture: submissions.ReportedCapture,
    note: str = "",
    reported_original_sha256s: Sequence[str] = (),
    now: datetime.datetime,
) -> Submission:
    """Hand in photos under an active claim, or as the retake of a rejected submission that offers one.

    The same photos under the same claim again return the first submission, so a retry is harmless.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
        tasks.claims.StaleClaim: dropped, expired, or submitted with other photos.
        tasks.submissions.BadSubmission: no photos, too many, or a photo twice.
    """
    handed_in = submissions.HandedIn(files=files, capture=capture, untrusted_note=note, reported_original_sha256s=reported_original_sha256s)
    return _hand_in(claim, worker, handed_in, now)


def submit_negative(
    *,
    claim: Claim,
    worker: WorkerProfile,
    reason: str,
    files: Sequence[TakenIn],
    capture: submissions.ReportedCapture,
    note: str = "",
    now: datetime.datetime,
) -> Submission:
    """Hand in that it can't be done, with photos that show why. ``reason`` is one of `Submission.NegativeReason`.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
        tasks.claims.StaleClaim: dropped, expired, or submitted otherwise.
        tasks.submissions.BadSubmission: an unknown reason, no photos, too many, or a photo twice.
    """
    handed_in = submissions.HandedIn(
        files=files, capture=capture, kind=Submission.Kind.NEGATIVE, negative_reason=reason, untrusted_note=note
    )
    return _hand_in(claim, worker, handed_in, now)


def start_retake(*, claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> Claim:
    """Make the claim of a rejected submission active once more, with a fresh lease; an active claim is returned as it is.

    Raises:
        tasks.claims.NoClaim: it is another worker's.
        NoRetake: nothing offers a retake.
    """
    claiming.require_own(claim, worker)

    def work() -> Claim:
        bounty = locks.lock_bounty_of_task(claim.task_id)
        current = Claim.objects.select_related("task").get(pk=claim.pk)
        if current.status == Claim.Status.ACTIVE:
            return current
        _reopen(bounty, current, now)
        return current

    return retrying.in_transaction(work)


def _hand_in(claim: Claim, worker: WorkerProfile, handed_in: submissions.HandedIn, now: datetime.datetime) -> Submission:
    claiming.require_own(claim, worker)
    same = submissions.find_same(claim=claim, handed_in=handed_in)
    if same is not None:
        return same
    try:
        return retrying.apart(lambda: _receive(claim, handed_in, now))
    except claims.StaleClaim:
        # The same request may have come in twice at once: the other one won.
        same = submissions.find_same(claim=claim, handed_in=handed_in)
        if same is None:
            raise
        return same


def _receive(claim: Claim, handed_in: submissions.HandedIn, now: datetime.datetime) -> Submission:
    is_retake = claim.submissions.exists()
    if is_retake:
        # Rare: the retake meets the appeal window's end and the appeal on the bounty's row.
        bounty = locks.lock_bounty_of_task(claim.task_id)
        current = Claim.objects.select_related("task").get(pk=claim.pk)
        if current.status == Claim.Status.SUBMITTED:
            try:
                _reopen(bounty, current, now)
            except NoRetake as refused:
                raise claims.StaleClaim(str(refused)) from refused
    else:
        bounty = locks.share_bounty_of_task(claim.task_id)
        current = Claim.objects.select_related("task").get(pk=claim.pk)
    claims.hand_in(claim=current, is_retake=is_retake, now=now)
    submission = submissions.receive(claim=current, handed_in=handed_in, now=now)
    news.tell_of_submission(bounty, submission, type="submission.received", actor="worker")
    _open_case(bounty, submission, now)
    if is_retake:
        settlement.settle_superseded(bounty=bounty, claim=current, now=now)
    return submission


def _reopen(bounty: Bounty, claim: Claim, now: datetime.datetime) -> None:
    rejected = claim.submissions.select_related("claim").order_by("-number").first()
    # In the window's last second no lease fits: it would be over at once, and count against the worker.
    is_too_late = claim.task.closes_at - now < datetime.timedelta(seconds=1)
    if rejected is None or is_too_late or not submissions.offers_retake(rejected, now=now):
        raise NoRetake(f"{claim} offers no retake: nothing was rejected, the retake is used, or its time is over.")
    claims.reopen_for_retake(claim=claim, lease_s=claiming.lease_s(task=claim.task, latitude=None, longitude=None), now=now)
    news.tell_of_claim(bounty, claim, type="claim.retaken", actor="worker")


def _open_case(bounty: Bounty, submission: Submission, now: datetime.datetime) -> None:
    terms = photo.PhotoTerms.model_validate(bounty.task.terms)
    offer = bounty.offers.latest("version")
    # A raised reward asks for a surer verdict than the frozen terms did: offers only rise, so the newest is the strictest
    # since the claim. A raise that comes after this tightens the case (`improving`).
    bound = min(terms.max_false_accept, pricing.max_false_accept(Money(offer.reward_minor, offer.currency)))
    pipeline.open_case(
        submission=submission,
        max_false_accept=bound,
        poster_review_window_s=terms.poster_review_window_s,
        terms_hash=bounty.terms_hash,
        now=now,
    )
    submissions.start_checking(submission.pk)
    submission.status = Submission.Status.CHECKING
    news.tell_of_submission(bounty, submission, type="submission.checking", actor="machine")
