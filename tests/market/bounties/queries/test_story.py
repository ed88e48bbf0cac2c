"""A bounty's story as its agent reads it: it ..."""

import datetime
import uuid

import pytest

from market.accounts.models import Agent, User
from market.bounties import locks, queries
from tasks import submissions
from tasks.models import WorkerProfile
from tests import stories


def test_tells_money_submissions_and_what_is_still_open(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.rejected(bounty, worker, now=now)
    story = queries.story_of_bounty(queries.bounty_of(agent, bounty.pk), now=now)
    assert (story.totals.funded_minor, story.totals.held_minor, story.totals.captured_minor) == (1600, 1600, 0)
    [told] = story.submissions
    assert (told.is_retake_offered, told.settlement, told.appeal, told.poster_review_until) == (True, None, None, None)
    assert [event.type for event in queries.events_of(bounty)][-1] == "submission.rejected"


def test_opens_the_photograph_to_the_poster_only_when_it_is_paid(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    assert not queries.is_original_open_to_poster(submission)
    stories.settle(submission, now=now)
    assert queries.is_original_open_to_poster(submission)


def test_tells_a_stranger_nothing(agent: Agent, worker: WorkerProfile, stranger: User, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    other = stranger.agents.get()
    assert list(queries.bounties_of(other)) == []
    for bounty_id in (bounty.pk, uuid.uuid4()):
        with pytest.raises(locks.NoBounty):
            queries.bounty_of(other, bounty_id)
    with pytest.raises(submissions.NoSubmission):
        queries.submission_for(other, submission.pk)
    assert queries.submission_for(agent, submission.pk) == submission
