"""The operators' pages: staff alone, each case by somebody who has not seen it, with a reason the worker reads."""

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties import settlement
from tasks import clock
from tasks.models import Submission, WorkerProfile
from tests import people, stories
from verification import reviews
from verification.models import Review, Verdict

pytestmark = pytest.mark.django_db

_WHY = "The photo is sharp; I looked at it at full size."


@pytest.fixture
def appealed(agent: Agent, worker: WorkerProfile) -> Review:
    """A rejection that its worker has appealed."""
    submission = stories.rejected(stories.post_photo_bounty(agent), worker)
    stories.appeal(submission)
    return Review.objects.get()


@pytest.fixture
def desk(client: Client, verifier: User) -> Client:
    """A reviewer's browser."""
    client.force_login(verifier)
    return client


def test_only_staff_gets_in(client: Client, appealed: Review, stranger: User) -> None:
    for visitor in (Client(), client):
        for address in ("/review", f"/review/{appealed}"):
            assert visitor.get(address).headers["Location"].startswith("/admin/login/")
        assert visitor.post(f"/review/{appealed}", {"decision": "ACCEPTED", "reason": _WHY}).status_code == 302
        client.force_login(stranger)
    appealed.refresh_from_db()
    assert appealed.decision == ""


def test_shows_the_case_and_takes_its_decision(desk: Client, appealed: Review) -> None:
    assert str(appealed).encode() in desk.get("/review").content
    page = desk.get(f"/review/{appealed}").content.decode()
    assert "Look again." in page
    assert "What the machine found" in page
    assert str(appealed.submission.worker_id) not in page
    for _ in range(2):
        assert desk.post(f"/review/{appealed}", {"decision": "ACCEPTED", "reason": _WHY}).status_code == 303
    assert Verdict.objects.get(round=2).outcome == "ACCEPTED"
    assert str(appealed).encode() not in desk.get("/review").content
    assert desk.get(f"/review/{appealed}").status_code == 404


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"decision": "ACCEPTED"},
        {"decision": "ACCEPTED", "reason": " \u200b "},
        {"decision": "REJECTED", "reason": _WHY},
        {"decision": "REJECTED", "reason": _WHY, "criterion": "taste"},
        {"decision": "PERHAPS", "reason": _WHY},
        {"decision": "INCONCLUSIVE", "reason": _WHY},
    ],
)
def test_a_decision_without_its_reason_or_criterion_decides_nothing(desk: Client, appealed: Review, form: dict[str, str]) -> None:
    answer = desk.post(f"/review/{appealed}", form)
    assert answer.status_code == 422
    assert form.get("reason", "").strip("\u200b ").encode() in answer.content
    appealed.refresh_from_db()
    assert appealed.decision == ""


def test_who_saw_it_before_does_not_decide_its_appeal(desk: Client, appealed: Review, verifier: User) -> None:
    first = reviews.open_review(submission=appealed.submission, kind=Review.Kind.FIRST, now=clock.now())
    Review.objects.filter(pk=first.pk).update(reviewer=verifier, decision="REJECTED", criterion="sharp")
    assert str(appealed).encode() not in desk.get("/review").content
    assert desk.get(f"/review/{appealed}").status_code == 404
    assert desk.post(f"/review/{appealed}", {"decision": "ACCEPTED", "reason": _WHY}).status_code == 409


def test_poster_and_worker_do_not_decide_their_own_case(client: Client, appealed: Review, agent: Agent, worker: WorkerProfile) -> None:
    for user in (agent.owner, User.objects.get(pk=worker.pk)):
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        client.force_login(user)
        assert client.get(f"/review/{appealed}").status_code == 404
        assert client.post(f"/review/{appealed}", {"decision": "ACCEPTED", "reason": _WHY}).status_code == 409


def test_of_two_reviewers_the_second_is_told(desk: Client, appealed: Review) -> None:
    second = Client()
    second.force_login(User.objects.create_user(username="second", is_staff=True))
    assert desk.post(f"/review/{appealed}", {"decision": "ACCEPTED", "reason": _WHY}).status_code == 303
    answer = second.post(f"/review/{appealed}", {"decision": "REJECTED", "criterion": "sharp", "reason": "No."})
    assert answer.status_code == 409
    assert Verdict.objects.filter(round=2).count() == 1


def test_the_worker_reads_the_reviewers_reason(desk: Client, appealed: Review) -> None:
    desk.post(f"/review/{appealed}", {"decision": "REJECTED", "criterion": "sharp", "reason": "The rim is <blurred>."})
    verdict = Verdict.objects.get(round=2)
    settlement.apply_verdict(verdict_id=verdict.pk, now=verdict.created_at)
    reader = Client()
    reader.force_login(User.objects.get(pk=appealed.submission.worker_id))
    page = reader.get(f"/submissions/{appealed.submission}").content.decode()
    assert "The rim is &lt;blurred&gt;." in page
    assert "This is final." in page


def test_a_report_that_it_cannot_be_done_waits_here(desk: Client, agent: Agent) -> None:
    submission = stories.submit_negative(stories.claim(stories.post_photo_bounty(agent), people.open_worker()))
    reviews.open_review(submission=submission, kind=Review.Kind.FIRST, now=clock.now())
    page = desk.get(f"/review/{Review.objects.get()}").content.decode()
    assert "“It can't be done”:" in page
    assert "Can't say" in page
    assert Submission.objects.get().negative_reason == "closed"
