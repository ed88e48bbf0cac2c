"""Settlement: turn each verdict into its consequences and transfers, exactly once."""

import datetime
import uuid

from django.db.models import F

from market.bounties import closing, locks, maturing, news, pricing, rules
from market.bounties.models import Appeal, Bounty, Offer, Settlement
from market.common import account_paths, retrying
from market.common.money import Money
from market.escrow import holds
from market.escrow.models import Hold
from tasks import batches, claims, submissions
from tasks.models import Claim, Submission, WorkerProfile
from verification import receipts, verdicts
from verification.models import Case, Verdict

_Status = Submission.Status
_Outcome = Verdict.Outcome


class TermsMismatch(Exception):
    """A verdict was made under other terms than its claim: nothing moves until an operator has looked."""


class VerdictOutOfTurn(Exception):
    """An earlier verdict on the submission has not been applied yet: apply that one first."""


def apply_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Apply verdicts that have not been applied, oldest first; return how many."""
    due = verdicts.unapplied()
    done = batches.drive(
        sweep="verdicts applied", due=due, work=lambda verdict_id: apply_verdict(verdict_id=verdict_id, now=now), limit=limit, now=now
    )
    return len(done)


def apply_verdict(*, verdict_id: uuid.UUID, now: datetime.datetime) -> Settlement | None:
    """Move the submission by its verdict, and the money where the verdict is final; again, it returns what was done.

    Raises:
        TermsMismatch: the verdict's terms are not the claim's.
        VerdictOutOfTurn: an earlier round waits.
    """
    return retrying.in_transaction(lambda: _apply(verdict_id, now))


def settle_unpaid(*, bounty: Bounty, submission: Submission, actor: news.Actor, now: datetime.datetime) -> Settlement | None:
    """End a rejected or inconclusive submission without pay and let its slot go; None if it was ended before.

    Call it with the bounty locked.
    """
    if not submissions.finalise(submission=submission, now=now):
        return None
    settlement = _write_unpaid(bounty, submission, now)
    # That nobody could tell is no mark against the worker.
    if submission.status == _Status.REJECTED:
        WorkerProfile.objects.filter(pk=submission.worker_id).update(rejected_count=F("rejected_count") + 1)
    news.tell_of_settlement(bounty, settlement, type="submission.final", actor=actor)
    claim = Claim.objects.select_related("task").get(pk=submission.claim_id)
    if claim.status != Claim.Status.ACTIVE and not claims.has_unsettled_work(claim):
        closing.let_slot_go(bounty=bounty, claim=claim, actor=actor, now=now)
    return settlement


def settle_superseded(*, bounty: Bounty, claim: Claim, now: datetime.datetime) -> None:
    """End the rejected first submission of a claim whose retake has just been handed in. Call it with the bounty locked."""
    first = claim.submissions.get(number=1)
    if submissions.finalise(submission=first, now=now):
        settlement = _write_unpaid(bounty, first, now)
        news.tell_of_settlement(bounty, settlement, type="submission.final", actor="worker")


def _apply(verdict_id: uuid.UUID, now: datetime.datetime) -> Settlement | None:
    verdict = Verdict.objects.select_related("submission").get(pk=verdict_id)
    bounty = locks.lock_bounty_of_task(verdict.submission.task_id)
    if verdict.round > 1 and Verdict.objects.filter(submission_id=verdict.submission_id, round__lt=verdict.round, applied_at=None).exists():
        raise VerdictOutOfTurn(f"Submission {verdict.submission} has an earlier verdict than {verdict} to apply.")
    if not Verdict.objects.filter(pk=verdict_id, applied_at=None).update(applied_at=now):
        return Settlement.objects.filter(verdict_id=verdict_id).first()
    submissions.start_checking(verdict.submission_id)
    submission = Submission.objects.select_related("claim__slot", "claim__task").get(pk=verdict.submission_id)
    verdict.submission = submission
    if verdict.terms_hash != submission.claim.terms_hash:
        raise TermsMismatch(f"{verdict} was made under other terms than {submission.claim}.")
    if not _is_awaited(verdict, submission):
        return None  # The case was decided by another verdict meanwhile; this one is kept, and changes nothing.
    if verdict.outcome == _Outcome.ACCEPTED:
        return _accept(bounty, submission, verdict, now)
    if verdict.outcome == _Outcome.REJECTED:
        return _reject(bounty, submission, verdict, now)
    return _leave_open(bounty, submission, verdict, now)


def _is_awaited(verdict: Verdict, submission: Submission) -> bool:
    if submission.status == _Status.APPEALED:
        return verdict.decided_by in (Verdict.Decider.APPEAL, Verdict.Decider.CLOCK)
    return submission.status in (_Status.CHECKING, _Status.IN_REVIEW)


def _accept(bounty: Bounty, submission: Submission, verdict: Verdict, now: datetime.datetime) -> Settlement:
    _decide(bounty, submission, verdict, retake_until=None, appeal_until=submission.appeal_until, now=now)
    submissions.finalise(submission=submission, now=now)
    offer = _offer_earned(bounty, submission, verdict)
    if submission.kind == Submission.Kind.NEGATIVE:
        settlement = _pay_negative(bounty, submission, verdict, offer, now)
    else:
        settlement = _pay_reward(bounty, submission, verdict, offer, now)
    WorkerProfile.objects.filter(pk=submission.worker_id).update(accepted_count=F("accepted_count") + 1)
    news.tell_of_settlement(bounty, settlement, type="submission.paid", actor=news.actor_of(verdict))
    closing.wind_down(bounty=bounty, actor=news.actor_of(verdict), now=now)
    return settlement


def _offer_earned(bounty: Bounty, submission: Submission, verdict: Verdict) -> Offer:
    """Return the newest offer; of a machine's acceptance, the newest for whose price it was sure enough."""
    offers = list(bounty.offers.order_by("-version"))
    if verdict.decided_by not in (Verdict.Decider.MACHINE, Verdict.Decider.SILENCE):
        return offers[0]
    bound = Case.objects.values_list("max_false_accept", flat=True).get(pk=submission.pk)
    sure_enough = (offer for offer in offers if bound <= pricing.max_false_accept(Money(offer.reward_minor, offer.currency)))
    # The case was opened under the first offer's limit, or a stricter one.
    return next(sure_enough, offers[-1])


def _reject(bounty: Bounty, submission: Submission, verdict: Verdict, now: datetime.datetime) -> Settlement | None:
    if submission.status == _Status.APPEALED:
        _decide(bounty, submission, verdict, retake_until=None, appeal_until=submission.appeal_until, now=now)
        return settle_unpaid(bounty=bounty, submission=submission, actor=news.actor_of(verdict), now=now)
    retake_until = None
    if submission.number == 1 and not submission.claim.is_retake_used and now < bounty.task.closes_at:
        retake_until = min(now + rules.RETAKE_OFFER, bounty.task.closes_at)
    appeal_until = (retake_until or now) + rules.APPEAL_WINDOW
    _decide(bounty, submission, verdict, retake_until=retake_until, appeal_until=appeal_until, now=now)
    return None


def _leave_open(bounty: Bounty, submission: Submission, verdict: Verdict, now: datetime.datetime) -> Settlement | None:
    _decide(bounty, submission, verdict, retake_until=None, appeal_until=None, now=now)
    return settle_unpaid(bounty=bounty, submission=submission, actor=news.actor_of(verdict), now=now)


def _decide(
    bounty: Bounty,
    submission: Submission,
    verdict: Verdict,
    *,
    retake_until: datetime.datetime | None,
    appeal_until: datetime.datetime | None,
    now: datetime.datetime,
) -> None:
    outcome, is_appealed = _Status(verdict.outcome), submission.status == _Status.APPEALED
    submissions.decide(submission=submission, outcome=outcome, retake_until=retake_until, appeal_until=appeal_until, now=now)
    if is_appealed:
        Appeal.objects.filter(submission=submission, decided_at=None).update(decided_at=now)
    news.tell_of_submission(
        bounty,
        submission,
        type=f"submission.{outcome.lower()}",
        actor=news.actor_of(verdict),
        decided_by=verdict.decided_by,
        criteria=verdict.criteria,
    )


def _pay_reward(bounty: Bounty, submission: Submission, verdict: Verdict, offer: Offer, now: datetime.datetime) -> Settlement:
    settlement = _write(
        bounty, submission, verdict, Settlement.Kind.ACCEPTED, worker_minor=offer.reward_minor, fee_minor=offer.fee_minor, now=now
    )
    fees = account_paths.platform_fees(mode=bounty.mode, currency=offer.currency)
    parts = [
        holds.Part(_earned_path(bounty, submission, offer), offer.reward_minor, "reward"),
        holds.Part(fees, offer.fee_minor, "platform_fee"),
    ]
    hold = closing.slot_hold(bounty, submission.claim.slot.number)
    holds.capture(hold=hold, parts=parts, effect=str(settlement), now=now)
    claims.complete(claim=submission.claim, now=now)
    return settlement


def _pay_negative(bounty: Bounty, submission: Submission, verdict: Verdict, offer: Offer, now: datetime.datetime) -> Settlement:
    settlement = _write(bounty, submission, verdict, Settlement.Kind.NEGATIVE, worker_minor=offer.negative_fee_minor, fee_minor=0, now=now)
    part = holds.Part(_earned_path(bounty, submission, offer), offer.negative_fee_minor, "negative_outcome")
    reserve = closing.reserve_hold(bounty)
    if reserve.status == Hold.Status.HELD:
        holds.capture_part(hold=reserve, parts=[part], effect=str(settlement), now=now)
    else:
        # More reports than were reserved for were under way when the bounty began to close: the slot's own money pays.
        holds.capture(hold=closing.slot_hold(bounty, submission.claim.slot.number), parts=[part], effect=str(settlement), now=now)
    if _is_proven_impossible(bounty, submission, offer):
        closing.begin(bounty=bounty, because=Bounty.ClosedBecause.NOT_POSSIBLE, actor=news.actor_of(verdict), now=now)
    closing.let_slot_go(bounty=bounty, claim=submission.claim, actor=news.actor_of(verdict), now=now)
    return settlement


def _is_proven_impossible(bounty: Bounty, submission: Submission, offer: Offer) -> bool:
    paid = Settlement.objects.filter(bounty=bounty, kind=Settlement.Kind.NEGATIVE)
    agreeing = paid.filter(submission__negative_reason=submission.negative_reason)
    return paid.count() >= offer.max_negative_outcomes or agreeing.count() >= rules.AGREEING_NEGATIVE_REPORTS


def _earned_path(bounty: Bounty, submission: Submission, offer: Offer) -> str:
    return account_paths.worker_earned(mode=bounty.mode, worker_id=submission.worker_id, currency=offer.currency)


def _write_unpaid(bounty: Bounty, submission: Submission, now: datetime.datetime) -> Settlement:
    verdict = submission.verdicts.exclude(applied_at=None).latest("round")
    return _write(bounty, submission, verdict, Settlement.Kind.UNPAID, worker_minor=0, fee_minor=0, now=now)


def _write(
    bounty: Bounty,
    submission: Submission,
    verdict: Verdict,
    kind: Settlement.Kind,
    *,
    worker_minor: int,
    fee_minor: int,
    now: datetime.datetime,
) -> Settlement:
    # The insert is the lock: verdict and submission are unique here, so a second settlement can't be written.
    return Settlement.objects.create(
        verdict=verdict,
        submission=submission,
        bounty=bounty,
        kind=kind,
        worker_minor=worker_minor,
        fee_minor=fee_minor,
        currency=bounty.offers.latest("version").currency,
        receipt=None if kind == Settlement.Kind.UNPAID else receipts.issue(verdict=verdict, bounty_id=str(bounty)),
        settled_at=now,
        matures_at=maturing.matures_at(bounty=bounty, settled_at=now),
    )
