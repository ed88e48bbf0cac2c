"""A reward that is raised after the work was handed in: it ..."""

import datetime
import functools

import pytest

from market.accounts.models import Agent
from market.bounties import improving, reviewing, settlement
from market.bounties.models import Bounty
from market.common.money import Money
from tasks.leases import LeaseState, StaleLease
from tasks.models import WorkerProfile
from tests import stories
from tests.market.bounties import ledger
from verification import pipeline
from verification.models import Case, Verdict


def raise_to_50(bounty: Bounty, now: datetime.datetime) -> None:
    improving.improve(bounty=bounty, agent=bounty.agent, reward=Money(5000, "USD"), now=now)


def test_is_paid_after_a_verdict_as_sure_as_its_price_asks(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, reward="1.00", now=now)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    assert Case.objects.get().max_false_accept == pytest.approx(0.02)
    raise_to_50(bounty, now)
    assert Case.objects.get().max_false_accept == pytest.approx(0.002)
    stories.settle(submission, now=now)
    assert (ledger.earned(worker), ledger.held(bounty)) == (5000, 0)


def test_stops_a_machine_that_judges_by_the_old_limit(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, reward="1.00", now=now)
    stories.submit(stories.claim(bounty, worker, now=now), now=now)
    Case.objects.update(stage=Case.Stage.DECIDE)
    [judging] = Case.objects.hand_out(limit=1, holder="machine", lease_s=60)
    raise_to_50(bounty, now)
    with pytest.raises(StaleLease):
        pipeline._accept(judging, judging.submission, now)
    assert not Verdict.objects.exists()
    again = Case.objects.get()
    assert again.lease_state == LeaseState.READY
    assert again.max_false_accept == pytest.approx(0.002)


def test_leaves_a_machines_verdict_at_the_price_it_was_made_for(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, reward="1.00", now=now)
    verdict = stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
    raise_to_50(bounty, now)
    settlement.apply_verdict(verdict_id=verdict.pk, now=now)
    assert (ledger.earned(worker), ledger.held(bounty)) == (100, 0)
    assert ledger.available(agent) == 100_000 - 110


@pytest.mark.parametrize(("speaks", "paid"), [(True, 5000), (False, 100)])
def test_is_earned_by_the_posters_word_and_not_by_his_silence(
    agent: Agent, worker: WorkerProfile, now: datetime.datetime, speaks: bool, paid: int
) -> None:
    bounty = stories.post_photo_bounty(agent, reward="1.00", now=now, poster_review_window_s=60)
    submission = stories.submit(stories.claim(bounty, worker, now=now), now=now)
    Case.objects.update(stage=Case.Stage.REVIEW, lease_state="DONE", machine_outcome="ACCEPTED", machine_decided_at=now)
    raise_to_50(bounty, now)
    say = functools.partial(reviewing.decide_as_poster, submission=submission, agent=agent, is_accepted=True, now=now)
    wait = functools.partial(reviewing.accept_silence, now=now + datetime.timedelta(seconds=60))
    say() if speaks else wait()
    assert (ledger.earned(worker), ledger.held(bounty)) == (paid, 0)
