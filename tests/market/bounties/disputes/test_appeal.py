"""An appeal: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import disputes, submitting
from market.bounties.models import Appeal, Bounty, Settlement
from tasks import submissions
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, WorkerProfile
from tests import stories
from tests.market.bounties import ledger
from verification import reviews
from verification.models import Review

TICK = datetime.timedelta(microseconds=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> Bounty:
    return stories.post_photo_bounty(agent, now=now, deadline=now + datetime.timedelta(days=10))


@pytest.fixture
def rejected(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> Submission:
    return stories.rejected(bounty, worker, now=now)


def test_puts_the_case_before_a_person(rejected: Submission, now: datetime.datetime) -> None:
    first = stories.appeal(rejected, now=now)
    assert stories.appeal(rejected, now=now) == first
    rejected.refresh_from_db()
    assert rejected.status == Submission.Status.APPEALED
    assert Review.objects.get().kind == Review.Kind.APPEAL


def test_pays_when_it_is_upheld(
    bounty: Bounty, rejected: Submission, worker: WorkerProfile, verifier: User, now: datetime.datetime
) -> None:
    stories.appeal(rejected, now=now)
    settled = stories.decide_appeal(rejected, verifier, "ACCEPTED", now=now)
    assert settled is not None
    assert settled.kind == Settlement.Kind.ACCEPTED
    assert (ledger.earned(worker), ledger.held(bounty), rejected.status) == (1000, 0, Submission.Status.ACCEPTED)
    assert Appeal.objects.get().decided_at == now


def test_ends_without_pay_when_it_is_refused(
    bounty: Bounty, rejected: Submission, worker: WorkerProfile, verifier: User, now: datetime.datetime
) -> None:
    stories.appeal(rejected, now=now)
    settled = stories.decide_appeal(rejected, verifier, "REJECTED", now=now)
    assert settled is not None
    assert (settled.kind, rejected.status, rejected.final_at) == (Settlement.Kind.UNPAID, Submission.Status.REJECTED, now)
    assert (ledger.earned(worker), Slot.objects.get().lease_state) == (0, LeaseState.READY)
    assert stories.appeal(rejected, now=now) == Appeal.objects.get()  # There is one, and it is decided.
    rejected.refresh_from_db()
    assert rejected.status == Submission.Status.REJECTED


def test_is_refused_at_the_end_of_its_window(rejected: Submission) -> None:
    assert rejected.appeal_until is not None
    with pytest.raises(disputes.NotAppealable):
        stories.appeal(rejected, now=rejected.appeal_until)
    assert not Appeal.objects.exists()
    stories.appeal(rejected, now=rejected.appeal_until - TICK)


def test_stops_the_clock(rejected: Submission, now: datetime.datetime) -> None:
    stories.appeal(rejected, now=now)
    assert disputes.finalise_due(now=now + datetime.timedelta(days=60)) == 0
    assert not Settlement.objects.exists()


def test_takes_the_place_of_the_retake(rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.appeal(rejected, now=now)
    with pytest.raises(submitting.NoRetake):
        submitting.start_retake(claim=Claim.objects.get(), worker=worker, now=now)


def test_waits_for_a_retake_under_way(rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    submitting.start_retake(claim=Claim.objects.get(), worker=worker, now=now)
    with pytest.raises(disputes.NotAppealable, match="under way"):
        stories.appeal(rejected, now=now)


def test_is_decided_by_nobody_who_has_part_in_it(agent: Agent, rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.appeal(rejected, now=now)
    for person in (User.objects.get(pk=agent.owner_id), User.objects.get(pk=worker.pk)):
        with pytest.raises(reviews.NotYourCase):
            stories.decide_appeal(rejected, person, "ACCEPTED", now=now)
    assert not Settlement.objects.exists()


def test_is_open_to_no_stranger(rejected: Submission, stranger: User, now: datetime.datetime) -> None:
    with pytest.raises(submissions.NoSubmission):
        disputes.appeal(submission=rejected, worker=stranger.worker_profile, now=now)
    with pytest.raises(submissions.NoSubmission):
        disputes.waive(submission=rejected, worker=stranger.worker_profile, now=now)
    rejected.refresh_from_db()
    assert rejected.status == Submission.Status.REJECTED


def test_can_be_given_up_for_a_final_rejection(rejected: Submission, worker: WorkerProfile, now: datetime.datetime) -> None:
    settled = disputes.waive(submission=rejected, worker=worker, now=now)
    assert settled is not None
    assert disputes.waive(submission=rejected, worker=worker, now=now) is None
    assert Slot.objects.get().lease_state == LeaseState.READY
    with pytest.raises(disputes.NotAppealable):
        stories.appeal(rejected, now=now)


def test_is_for_rejections_only(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> None:
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    with pytest.raises(disputes.NotAppealable):
        stories.appeal(submission, now=now)
    stories.settle(submission, now=now)
    with pytest.raises(disputes.NotAppealable):
        stories.appeal(submission, now=now)
    assert ledger.earned(worker) == 1000
