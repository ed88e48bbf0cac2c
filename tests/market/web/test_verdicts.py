"""After the verdict: its points in words, the retake, the appeal, giving in, and the money's state."""

import datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from market.accounts.models import Agent, User
from market.bounties import judging, maturing, settlement
from market.bounties.models import Appeal
from tasks import clock
from tasks.models import Claim, Submission, WorkerProfile
from tests import people, stories
from verification import reviews, verdicts
from verification.models import Case, CheckRun, Review

pytestmark = pytest.mark.django_db


@pytest.fixture
def submission(client: Client, agent: Agent) -> Submission:
    """The visitor's own submission, being checked."""
    worker = people.open_worker()
    client.force_login(User.objects.get(pk=worker.pk))
    return stories.submit(stories.claim(stories.post_photo_bounty(agent), worker))


def _page(client: Client, submission: Submission) -> str:
    return client.get(f"/submissions/{submission}").content.decode()


def test_waits_and_looks_again_without_a_script(client: Client, submission: Submission) -> None:
    page = _page(client, submission)
    assert "Checking your photo" in page
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert "<strong>$10.00</strong> is held for you" in page


def test_says_until_when_a_person_decides(client: Client, submission: Submission) -> None:
    now = clock.now()
    Case.objects.update(stage=Case.Stage.REVIEW, lease_state="DONE")
    review = reviews.open_review(submission=submission, kind=Review.Kind.FIRST, now=now)
    judging.show_in_review(now=now)
    until = f'<time datetime="{(now + datetime.timedelta(days=7)).isoformat(timespec="seconds")}" data-until>in 7 days</time>'
    assert f"It is decided {until} at the latest; if nobody could tell by then, it is not paid." in _page(client, submission)
    # The clock is about to decide: no time is left to name.
    Review.objects.filter(pk=review.pk).update(due_at=now)
    assert "at the latest" not in _page(client, submission)


def test_says_until_when_an_appeal_is_decided(client: Client, submission: Submission) -> None:
    now = clock.now()
    stories.settle(submission, "REJECTED", now=now)
    stories.appeal(submission, now=now)
    until = f'<time datetime="{(now + datetime.timedelta(days=7)).isoformat(timespec="seconds")}" data-until>in 7 days</time>'
    assert f"If nobody has by then, you are paid {until}." in _page(client, submission)


def test_acceptance_shows_the_money(client: Client, submission: Submission) -> None:
    stories.settle(submission)
    assert "+$10.00" in _page(client, submission)
    assert "http-equiv" not in _page(client, submission)
    maturing.mature_due(now=clock.now())
    assert "Ready to be paid out" in _page(client, submission)


def test_rejection_names_its_point_and_what_to_do(client: Client, submission: Submission) -> None:
    CheckRun.objects.create(
        submission=submission,
        check_name="geofence",
        check_version=1,
        criterion="in_place",
        outcome="FAIL",
        reason_code="outside_area",
        facts={"distance_m": 340.2},
    )
    verdict = verdicts.record(
        submission=submission,
        outcome="REJECTED",
        decided_by="MACHINE",
        criteria=verdicts.criteria_of(submission),
        terms_hash=submission.claim.terms_hash,
        now=clock.now(),
    )
    settlement.apply_verdict(verdict_id=verdict.pk, now=clock.now())
    page = _page(client, submission)
    assert "It was taken about 340 m from the place. Go to the marked place and take it there." in page
    assert "Take it again" in page
    assert "This is wrong: let a person look" in page


def test_retake_opens_the_claim_again_once(client: Client, submission: Submission) -> None:
    stories.settle(submission, "REJECTED")
    for _ in range(2):
        answer = client.post(f"/submissions/{submission}/retake")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/claims/{submission.claim}")
    page = client.get(f"/claims/{submission.claim}").content
    assert b"Take the photo" in page
    assert b"Do better this time" in page
    stories.submit(Claim.objects.get(pk=submission.claim_id), file=stories.kept_file("second"))
    assert client.post(f"/submissions/{submission}/retake").status_code == 409


def test_appeal_goes_to_a_person_once(client: Client, submission: Submission) -> None:
    stories.settle(submission, "REJECTED")
    for statement in ("It is sharp.\u202e<b>", "again"):
        assert client.post(f"/submissions/{submission}/appeal", {"statement": statement}).status_code == 303
    assert Appeal.objects.get().untrusted_statement == "It is sharp.<b>"
    assert "Your appeal is with a person" in _page(client, submission)


def test_what_is_not_rejected_can_neither_be_appealed_nor_retaken_nor_given_up(client: Client, submission: Submission) -> None:
    for path in ("appeal", "retake", "waive"):
        assert client.post(f"/submissions/{submission}/{path}").status_code == 409
    assert not Appeal.objects.exists()


def test_giving_in_frees_the_worker(client: Client, submission: Submission, agent: Agent) -> None:
    stories.settle(submission, "REJECTED")
    assert client.post(f"/submissions/{submission}/waive").status_code == 303
    assert "This is final." in _page(client, submission)
    assert client.post(f"/tasks/{stories.post_photo_bounty(agent).task}/claim").status_code == 303


def test_own_list_shows_every_claim(client: Client, submission: Submission) -> None:
    stories.settle(submission, "REJECTED")
    page = client.get("/work").content.decode()
    assert f"/submissions/{submission}" in page
    assert "not accepted" in page


def test_pages_of_workers_tell_visitors_how_to_become_one(client: Client, submission: Submission) -> None:
    visitor = Client()
    for address in ("/work", "/money", f"/submissions/{submission}", f"/claims/{submission.claim}"):
        answer = visitor.get(address)
        assert answer.status_code == 403
        assert b"Your account begins with your first task" in answer.content
        assert b"coffee" not in answer.content


def test_own_list_asks_the_database_as_often_for_many_as_for_one(client: Client, submission: Submission, agent: Agent) -> None:
    stories.settle(submission)
    WorkerProfile.objects.update(accepted_count=30)
    for _ in range(3):
        stories.submit(stories.claim(stories.post_photo_bounty(agent), WorkerProfile.objects.get()))
    with CaptureQueriesContext(connection) as asked:
        client.get("/work")
    assert len(asked) <= 8
