"""The sweep: it ..."""

import datetime
import io

import pytest
from django.core.management import call_command

from market.accounts.models import Agent
from market.bounties import jobs, settlement, sweeping
from market.bounties.models import Bounty, Settlement
from tasks.models import Claim, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger


def test_does_everything_that_is_due_once(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    good = stories.post_photo_bounty(agent, now=now)
    stories.decide(stories.submit(stories.claim(good, worker, now=now), now=now), now=now)
    abandoned = stories.post_photo_bounty(agent, now=now)
    stories.claim(abandoned, people.open_worker(), now=now)
    done = sweeping.sweep(now=abandoned.task.closes_at)
    assert done == {
        "claims expired": 1,
        "submissions in review": 0,
        "silences accepted": 0,
        "reviews timed out": 0,
        "verdicts applied": 1,
        "rejections final": 0,
        "bounties closing": 0,
        "settlements matured": 1,
    }
    assert set(sweeping.sweep(now=abandoned.task.closes_at).values()) == {0}
    assert set(Bounty.objects.values_list("status", flat=True)) == {Bounty.Status.SETTLED, Bounty.Status.EXPIRED}
    assert ledger.payable(worker) == 1000


def test_is_rung_by_a_job_and_run_by_a_command(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
    jobs.apply_verdicts(unknown_to_this_version=1)
    assert ledger.payable(worker) == 1000
    Claim.objects.filter(pk=stories.claim(bounty, people.open_worker(), now=now).pk).update(expires_at=now)
    jobs.sweep()
    assert Claim.objects.latest("id").status == Claim.Status.EXPIRED
    said = io.StringIO()
    call_command("sweep", stdout=said)
    assert "0 claims expired" in said.getvalue()
    assert Settlement.objects.count() == 1


def test_pays_when_rung_although_another_verdict_is_bad(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    broken, whole = (stories.post_photo_bounty(agent, now=now) for _ in range(2))
    bad = stories.claim(broken, people.open_worker(), now=now)
    stories.decide(stories.submit(bad, now=now), now=now)
    Claim.objects.filter(pk=bad.pk).update(terms_hash="0" * 64)
    stories.decide(stories.submit(stories.claim(whole, worker, now=now), now=now), now=now)
    with pytest.raises(ExceptionGroup):
        jobs.apply_verdicts()
    assert ledger.payable(worker) == 1000


def test_reaches_good_verdicts_behind_a_batch_of_bad_ones(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    broken, whole = stories.post_photo_bounty(agent, slots=3, now=now), stories.post_photo_bounty(agent, now=now)
    for _ in range(3):
        bad = stories.claim(broken, people.open_worker(), now=now)
        stories.decide(stories.submit(bad, now=now), now=now)
        Claim.objects.filter(pk=bad.pk).update(terms_hash="0" * 64)
    stories.decide(stories.submit(stories.claim(whole, worker, now=now), now=now), now=now)
    with pytest.raises(ExceptionGroup) as refused:
        settlement.apply_due(now=now, limit=3)
    assert refused.group_contains(settlement.TermsMismatch)
    assert (settlement.apply_due(now=now, limit=3), ledger.earned(worker)) == (1, 1000)
