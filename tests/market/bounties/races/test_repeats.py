"""The same request twice, the second while the first is under way: it ..."""

import datetime
import functools

from market.accounts.models import Agent
from market.bounties import reviewing
from tests import people, stories
from tests.market import in_turn
from tests.market.bounties import ledger
from verification.models import Case, Verdict


def test_decides_as_the_poster_once_and_tells_both(rich_agent: Agent, now: datetime.datetime) -> None:
    worker = people.open_worker()
    bounty = stories.post_photo_bounty(rich_agent, now=now, poster_review_window_s=3600)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    Case.objects.filter(pk=submission.pk).update(
        stage=Case.Stage.REVIEW, lease_state="DONE", machine_outcome="ACCEPTED", machine_decided_at=now
    )
    decide = functools.partial(reviewing.decide_as_poster, submission=submission, agent=rich_agent, is_accepted=True, now=now)
    outcomes = in_turn.second_waits_for(decide, decide)
    assert outcomes == [Verdict.objects.get()] * 2
    assert ledger.earned(worker) == 1000
