"""Submitting: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import submitting
from market.bounties.models import Bounty
from tasks import claims, submissions
from tasks.leases import LeaseState
from tasks.models import Claim, Evidence, Slot, Submission, WorkerProfile
from tests import stories
from tests.market.bounties import ledger
from verification.models import Case

TICK = datetime.timedelta(microseconds=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> Bounty:
    return stories.post_photo_bounty(agent, now=now)


@pytest.fixture
def claim(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> Claim:
    return stories.claim(bounty, worker, now=now)


def hand_in(claim: Claim, now: datetime.datetime, *names: str, note: str = "") -> Submission:
    return submitting.submit(
        claim=claim,
        worker=claim.worker,
        files=[stories.kept_file(name) for name in names],
        capture=submissions.ReportedCapture(),
        note=note,
        now=now,
    )


def test_keeps_evidence_and_opens_the_case(bounty: Bounty, claim: Claim, now: datetime.datetime) -> None:
    submission = stories.submit(claim, note="the\u202e door \x00is\u200b shut\n", now=now)
    assert (submission.status, submission.number, submission.received_at) == (Submission.Status.CHECKING, 1, now)
    assert submission.untrusted_note == "the door is shut"
    assert Evidence.objects.get().submission_id == submission.pk
    case = Case.objects.get()
    assert (case.terms_hash, case.poster_review_window_s) == (bounty.terms_hash, 0)
    assert case.max_false_accept == pytest.approx(bounty.task.terms["max_false_accept"])
    slot = Slot.objects.get()
    assert (slot.lease_state, slot.lease_until) == (LeaseState.LEASED, None)
    assert Claim.objects.get().status == Claim.Status.SUBMITTED


def test_returns_the_first_when_the_same_comes_again(claim: Claim, now: datetime.datetime) -> None:
    first = hand_in(claim, now, "a", "b")
    again = hand_in(claim, now + datetime.timedelta(minutes=1), "b", "a")
    assert first.pk == again.pk
    assert (Submission.objects.count(), Evidence.objects.count(), Case.objects.count()) == (1, 2, 1)


def test_returns_the_first_even_after_its_verdict(claim: Claim, now: datetime.datetime) -> None:
    first = hand_in(claim, now, "a")
    stories.settle(first, "REJECTED", now=now)
    assert hand_in(claim, now, "a").pk == first.pk
    assert not Claim.objects.get().is_retake_used


def test_refuses_other_photos_under_a_submitted_claim(claim: Claim, now: datetime.datetime) -> None:
    hand_in(claim, now, "a")
    with pytest.raises(claims.StaleClaim):
        hand_in(claim, now, "b")
    assert Submission.objects.count() == 1


def test_refuses_at_the_end_of_the_claim(claim: Claim) -> None:
    with pytest.raises(claims.StaleClaim):
        hand_in(claim, claim.expires_at, "a")
    assert not Evidence.objects.exists()
    hand_in(claim, claim.expires_at - TICK, "a")


@pytest.mark.parametrize("names", [(), ("a", "a"), ("a", "b", "c", "d", "e", "f")])
def test_refuses_no_photo_too_many_and_one_twice(claim: Claim, now: datetime.datetime, names: tuple[str, ...]) -> None:
    with pytest.raises(submissions.BadSubmission):
        hand_in(claim, now, *names)
    assert Claim.objects.get().status == Claim.Status.ACTIVE


@pytest.mark.parametrize(
    "reported",
    [
        {"latitude": 52.5},
        {"latitude": float("nan"), "longitude": 13.4},
        {"latitude": 91.0, "longitude": 13.4},
        {"latitude": 52.5, "longitude": 181.0},
        {"accuracy_m": -1.0},
        {"accuracy_m": float("inf")},
        {"captured_at": datetime.datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_refuses_impossible_reports(reported: dict[str, float]) -> None:
    with pytest.raises(submissions.BadSubmission):
        submissions.ReportedCapture(**reported)  # type: ignore[arg-type]


def test_lets_no_stranger_hand_in(claim: Claim, stranger: User, now: datetime.datetime) -> None:
    with pytest.raises(claims.NoClaim):
        submitting.submit(
            claim=claim,
            worker=stranger.worker_profile,
            files=[stories.kept_file("a")],
            capture=submissions.ReportedCapture(),
            now=now,
        )
    assert not Submission.objects.exists()


def test_takes_no_first_submission_once_the_retake_has_begun(claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    """A second first submission that was held up until then would come to the retake's place without ending the rejection."""
    stories.settle(hand_in(claim, now, "a"), "REJECTED", now=now)
    retaken = submitting.start_retake(claim=claim, worker=worker, now=now)
    with pytest.raises(claims.StaleClaim):
        claims.hand_in(claim=retaken, is_retake=False, now=now)
    assert Claim.objects.get().status == Claim.Status.ACTIVE


def test_moves_no_money(agent: Agent, bounty: Bounty, claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.submit(claim, now=now)
    assert (ledger.held(bounty), ledger.available(agent), ledger.earned(worker)) == (1600, 98_400, 0)


def test_offers_no_retake_in_the_last_second(bounty: Bounty, claim: Claim, worker: WorkerProfile, now: datetime.datetime) -> None:
    """A lease of no time at all would be over before it began, and count against the worker."""
    stories.settle(stories.submit(claim, now=now), "REJECTED", now=bounty.task.closes_at - datetime.timedelta(hours=1))
    last = bounty.task.closes_at - datetime.timedelta(microseconds=1)
    with pytest.raises(submitting.NoRetake):
        submitting.start_retake(claim=claim, worker=worker, now=last)
    assert (Claim.objects.get().status, Claim.objects.get().is_retake_used) == (Claim.Status.SUBMITTED, False)
