"""The poster's review: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import judging, reviewing, settlement
from market.bounties.models import Bounty, Settlement
from tasks import submissions
from tasks.models import Submission, WorkerProfile
from tests import stories
from tests.market.bounties import ledger
from verification.models import Case, Review, Verdict

TICK = datetime.timedelta(microseconds=1)
WINDOW_S = 3600


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> Bounty:
    return stories.post_photo_bounty(agent, now=now, poster_review_window_s=WINDOW_S)


def wait_for_poster(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime, outcome: str = "ACCEPTED") -> Submission:
    """Hand in, and leave the case as the pipeline does when its checks passed (or could not tell: outcome "")."""
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    Case.objects.filter(pk=submission.pk).update(
        stage=Case.Stage.REVIEW, lease_state="DONE", machine_outcome=outcome, machine_decided_at=now
    )
    assert judging.show_in_review(now=now) == 1
    assert judging.show_in_review(now=now) == 0
    submission.refresh_from_db()
    assert submission.status == Submission.Status.IN_REVIEW
    return submission


def test_accepts(agent: Agent, bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> None:
    submission = wait_for_poster(bounty, worker, now)
    for _ in range(2):
        verdict = reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=True, now=now)
        assert verdict.decided_by == Verdict.Decider.POSTER
    assert (ledger.earned(worker), Verdict.objects.count()) == (1000, 1)


def test_rejects_by_a_published_criterion_and_leaves_the_worker_his_rights(
    agent: Agent, bounty: Bounty, worker: WorkerProfile, verifier: User, now: datetime.datetime
) -> None:
    submission = wait_for_poster(bounty, worker, now)
    with pytest.raises(reviewing.UnknownCriterion, match="shows:0"):
        reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=False, criterion="ugly", now=now)
    verdict = reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=False, criterion="shows:0", now=now)
    assert {line["criterion"]: line["outcome"] for line in verdict.criteria}["shows:0"] == "FAIL"
    submission.refresh_from_db()
    assert submission.status == Submission.Status.REJECTED
    stories.appeal(submission, now=now)
    stories.decide_appeal(submission, verifier, "ACCEPTED", now=now)
    assert ledger.earned(worker) == 1000


def test_takes_silence_for_yes_at_the_end_of_the_window(
    agent: Agent, bounty: Bounty, worker: WorkerProfile, now: datetime.datetime
) -> None:
    submission = wait_for_poster(bounty, worker, now)
    end = now + datetime.timedelta(seconds=WINDOW_S)
    assert reviewing.accept_silence(now=end - TICK) == 0
    with pytest.raises(reviewing.NotForPoster):
        reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=False, criterion="sharp", now=end)
    assert reviewing.accept_silence(now=end) == 1
    assert reviewing.accept_silence(now=end) == 0
    assert (Verdict.objects.get().decided_by, ledger.earned(worker)) == (Verdict.Decider.SILENCE, 1000)


def test_leaves_to_a_person_what_the_machine_could_not_tell(
    agent: Agent, bounty: Bounty, worker: WorkerProfile, now: datetime.datetime
) -> None:
    submission = wait_for_poster(bounty, worker, now, outcome="")
    with pytest.raises(reviewing.NotForPoster):
        reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=True, now=now)
    assert reviewing.accept_silence(now=now + datetime.timedelta(days=30)) == 0
    assert not Settlement.objects.exists()


def test_is_asked_only_where_the_terms_ask(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    submission = wait_for_poster(stories.post_photo_bounty(agent, now=now), worker, now)
    with pytest.raises(reviewing.NotForPoster):
        reviewing.decide_as_poster(submission=submission, agent=agent, is_accepted=False, criterion="sharp", now=now)


def test_is_closed_to_a_stranger(bounty: Bounty, worker: WorkerProfile, stranger: User, now: datetime.datetime) -> None:
    submission = wait_for_poster(bounty, worker, now)
    with pytest.raises(submissions.NoSubmission):
        reviewing.decide_as_poster(submission=submission, agent=stranger.agents.get(), is_accepted=True, now=now)
    assert not Verdict.objects.exists()
    assert not Review.objects.exists()
    assert settlement.apply_due(now=now) == 0
