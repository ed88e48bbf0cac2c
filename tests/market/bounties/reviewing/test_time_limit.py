"""A case that waits for a person who does not come: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import rules, sweeping
from market.bounties.models import Settlement
from tasks.leases import LeaseState
from tasks.models import Slot, Submission, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger
from verification import reviews
from verification.models import Case, Review, Verdict

DAY = datetime.timedelta(days=1)
TICK = datetime.timedelta(microseconds=1)


def waits_for_first(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> Review:
    bounty = stories.post_photo_bounty(agent, now=now, deadline=now + 30 * DAY)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    Case.objects.filter(pk=submission.pk).update(stage=Case.Stage.REVIEW, lease_state=LeaseState.DONE)
    return reviews.open_review(submission=submission, kind=Review.Kind.FIRST, now=now)


def waits_for_appeal(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> Review:
    submission = stories.rejected(stories.post_photo_bounty(agent, now=now, deadline=now + 30 * DAY), worker, now=now)
    stories.appeal(submission, now=now)
    return Review.objects.get()


def test_is_inconclusive_after_a_first_look_that_nobody_took(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    review = waits_for_first(agent, worker, now)
    assert sweeping.sweep(now=now + 7 * DAY - TICK)["reviews timed out"] == 0
    assert sweeping.sweep(now=now + 7 * DAY)["reviews timed out"] == 1
    verdict = Verdict.objects.get()
    assert (verdict.outcome, verdict.decided_by, verdict.round) == ("INCONCLUSIVE", "CLOCK", 1)
    assert (Settlement.objects.get().kind, Slot.objects.get().lease_state) == (Settlement.Kind.UNPAID, LeaseState.READY)
    assert Submission.objects.get().final_at == now + 7 * DAY
    review.refresh_from_db()
    worker.refresh_from_db()
    assert (review.lease_state, review.decision, worker.rejected_count) == (LeaseState.DEAD, "", 0)
    assert set(sweeping.sweep(now=now + 7 * DAY).values()) == {0}


def test_pays_after_an_appeal_that_nobody_heard(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    review = waits_for_appeal(agent, worker, now)
    sweeping.sweep(now=now + 7 * DAY - TICK)
    assert not Settlement.objects.exists()
    sweeping.sweep(now=now + 7 * DAY)
    verdict = Verdict.objects.get(round=2)
    assert (verdict.outcome, verdict.decided_by) == ("ACCEPTED", "CLOCK")
    assert (ledger.payable(worker), ledger.held(review.submission.task.bounty)) == (1000, 0)
    assert set(sweeping.sweep(now=now + 7 * DAY).values()) == {0}


def test_takes_no_decision_when_its_time_is_over(agent: Agent, worker: WorkerProfile, verifier: User, now: datetime.datetime) -> None:
    review = waits_for_appeal(agent, worker, now)

    def reject(at: datetime.datetime) -> Verdict:
        return reviews.decide(review_id=review.pk, reviewer=verifier, decision="REJECTED", criterion="sharp", reason="Blurred.", now=at)

    with pytest.raises(reviews.AlreadyReviewed, match="time"):
        reject(now + 7 * DAY)
    in_time = reject(now + 7 * DAY - TICK)
    assert reviews.time_out_due(now=now + 7 * DAY) == 0
    assert Verdict.objects.get(round=2) == in_time


def test_begins_its_time_once(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    first = waits_for_first(agent, worker, now)
    again = reviews.open_review(submission=first.submission, kind=Review.Kind.FIRST, now=now + DAY)
    assert (again, again.due_at) == (first, now + 7 * DAY)


def test_is_no_audits_matter(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    settled = stories.accepted(stories.post_photo_bounty(agent, now=now), worker, now=now)
    audit = reviews.open_review(submission=settled.submission, kind=Review.Kind.AUDIT, now=now)
    assert (audit.due_at, reviews.time_out_due(now=now + 365 * DAY)) == (None, 0)


def test_does_not_stop_the_others_when_it_is_broken(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    broken = waits_for_first(agent, people.open_worker(), now)
    waits_for_first(agent, worker, now + TICK)
    terms = broken.submission.task.terms
    broken.submission.task.terms = {}
    broken.submission.task.save(update_fields=["terms"])
    with pytest.raises(ExceptionGroup):
        reviews.time_out_due(now=now + 8 * DAY, limit=1)
    assert (reviews.time_out_due(now=now + 8 * DAY, limit=1), Verdict.objects.count()) == (1, 1)
    broken.submission.task.terms = terms
    broken.submission.task.save(update_fields=["terms"])
    assert reviews.time_out_due(now=now + 9 * DAY) == 1


def test_leaves_the_money_no_longer_than_a_provider_holds_it() -> None:
    longest = rules.MAX_LIFE + rules.APPEAL_WINDOW + sum(reviews.TIME_LIMITS.values(), datetime.timedelta())
    assert longest <= 90 * DAY
