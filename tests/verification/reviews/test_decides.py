"""A person decides: who may, what he must say, and what follows."""

import uuid

import pytest

from market.accounts.models import User
from tasks import clock, leases
from tasks.models import Submission
from tests import racing
from tests.verification import photographs, scenes
from verification import reviews
from verification.models import Case, Review, Verdict

pytestmark = pytest.mark.django_db


def open_first() -> Review:
    """Return the review of a case that the machine may not decide."""
    submission = scenes.hand_in(accuracy_m=None)
    scenes.advance(submission)
    scenes.read(submission, [scenes.SURE])
    return Review.objects.get(submission=submission)


def decide(review: Review, reviewer: User, decision: str = "ACCEPTED", criterion: str = "", reason: str = "I see the cup.") -> Verdict:
    return reviews.decide(review_id=review.pk, reviewer=reviewer, decision=decision, criterion=criterion, reason=reason, now=clock.now())


def owner_of(submission: Submission) -> User:
    return User.objects.get(pk=submission.task.owner_id)


def worker_of(submission: Submission) -> User:
    return User.objects.get(pk=submission.worker_id)


def test_accepts_in_the_reviewers_name(verifier: User) -> None:
    review = open_first()
    verdict = decide(review, verifier)
    assert (verdict.outcome, verdict.decided_by, verdict.round) == ("ACCEPTED", "REVIEWER", 1)
    review.refresh_from_db()
    assert (review.decision, review.reviewer, review.lease_state) == ("ACCEPTED", verifier, leases.LeaseState.DONE)
    assert Case.objects.get().stage == Case.Stage.DECIDED


def test_rejects_on_the_criterion_he_names(verifier: User) -> None:
    verdict = decide(open_first(), verifier, "REJECTED", "shows:0", "There is a plate, \u202eno cup\u202c.")
    assert [line for line in verdict.criteria if line["outcome"] == "FAIL"] == [
        {"criterion": "shows:0", "outcome": "FAIL", "reason_code": "decided_by_person"}
    ]
    assert Review.objects.get().reason == "There is a plate, no cup."


def test_changes_nothing_when_sent_again(verifier: User, stranger: User) -> None:
    review = open_first()
    assert decide(review, verifier) == decide(review, verifier)
    for again in ((verifier, "REJECTED", "sharp"), (stranger, "ACCEPTED", "")):
        with pytest.raises(reviews.AlreadyReviewed):
            decide(review, *again)
    assert Verdict.objects.count() == 1


def test_keeps_his_own_task_and_work_from_him(verifier: User) -> None:
    review = open_first()
    for person in (owner_of(review.submission), worker_of(review.submission)):
        assert review not in reviews.waiting_for(person)
        with pytest.raises(reviews.NotYourCase):
            decide(review, person)
    assert list(reviews.waiting_for(verifier)) == [review]
    assert not Verdict.objects.exists()


def test_gives_the_appeal_to_somebody_who_has_not_seen_the_case(verifier: User, stranger: User) -> None:
    review = open_first()
    decide(review, verifier, "REJECTED", "sharp")
    appeal = reviews.open_review(submission=review.submission, kind=Review.Kind.APPEAL, now=clock.now())
    assert list(reviews.waiting_for(verifier)) == []
    with pytest.raises(reviews.NotYourCase):
        decide(appeal, verifier)
    verdict = decide(appeal, stranger)
    assert (verdict.outcome, verdict.decided_by, verdict.round) == ("ACCEPTED", "APPEAL", 2)


def test_counts_the_first_submission_of_a_claim_as_the_same_case(verifier: User) -> None:
    claim = scenes.open_claim()
    first = scenes.hand_in(photographs.snap("coffee"), claim=claim, accuracy_m=None)
    scenes.advance(first)
    scenes.read(first, [scenes.SURE])
    decide(Review.objects.get(submission=first), verifier, "REJECTED", "shows:0")
    retake = scenes.hand_in(photographs.snap("cat"), claim=claim, accuracy_m=None)
    review = reviews.open_review(submission=retake, kind=Review.Kind.FIRST, now=clock.now())
    assert review not in reviews.waiting_for(verifier)
    with pytest.raises(reviews.NotYourCase):
        decide(review, verifier)


@pytest.mark.parametrize(
    ("decision", "criterion", "reason"),
    [
        ("ACCEPTED", "", ""),
        ("ACCEPTED", "", " \u200b\n"),
        ("ACCEPTED", "sharp", "why"),
        ("REJECTED", "", "why"),
        ("REJECTED", "ugly", "why"),
        ("REJECTED", "shows:7", "why"),
    ],
)
def test_asks_for_a_reason_and_a_published_criterion(verifier: User, decision: str, criterion: str, reason: str) -> None:
    review = open_first()
    with pytest.raises(reviews.MalformedDecision):
        decide(review, verifier, decision, criterion, reason)
    review.refresh_from_db()
    assert (review.decision, Verdict.objects.count()) == ("", 0)


def test_leaves_the_verdict_as_it_stands_after_an_audit(verifier: User) -> None:
    submission = scenes.hand_in()
    scenes.advance(submission)
    scenes.read(submission, [scenes.SURE])
    audit = reviews.open_review(submission=submission, kind=Review.Kind.AUDIT, now=clock.now())
    verdict = decide(audit, verifier, "REJECTED", "shows:0", "There is no cup.")
    assert (verdict.outcome, verdict.decided_by, Verdict.objects.count()) == ("ACCEPTED", "MACHINE", 1)
    audit.refresh_from_db()
    assert (audit.decision, audit.criterion) == ("REJECTED", "shows:0")


def test_leaves_no_appeal_open(verifier: User, stranger: User) -> None:
    review = open_first()
    decide(review, verifier, "REJECTED", "sharp")
    appeal = reviews.open_review(submission=review.submission, kind=Review.Kind.APPEAL, now=clock.now())
    with pytest.raises(reviews.MalformedDecision):
        decide(appeal, stranger, "INCONCLUSIVE")


def test_may_say_that_nobody_can_tell(verifier: User) -> None:
    assert decide(open_first(), verifier, "INCONCLUSIVE").outcome == "INCONCLUSIVE"


def test_knows_no_other_reviews(verifier: User) -> None:
    with pytest.raises(reviews.NoReview):
        reviews.decide(review_id=uuid.uuid4(), reviewer=verifier, decision="ACCEPTED", criterion="", reason="why", now=clock.now())


@pytest.mark.django_db(transaction=True)
def test_lets_one_of_two_reviewers_decide(verifier: User, stranger: User) -> None:
    review = open_first()
    results = racing.together([lambda: decide(review, verifier), lambda: decide(review, stranger, "REJECTED", "sharp")])
    assert sorted(type(result).__name__ for result in results) == ["AlreadyReviewed", "Verdict"]
    assert Verdict.objects.count() == 1
