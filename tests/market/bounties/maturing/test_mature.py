"""Earned money: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties import maturing, rules
from market.bounties.models import Settlement
from market.events.models import Event
from market.payments.models import Deposit
from tasks.models import WorkerProfile
from tests import stories
from tests.market.bounties import ledger

TICK = datetime.timedelta(microseconds=1)


def test_is_payable_at_once_behind_test_money(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.accepted(stories.post_photo_bounty(agent, now=now), worker, now=now)
    assert maturing.mature_due(now=now) == 1
    assert maturing.mature_due(now=now) == 0
    assert (ledger.earned(worker), ledger.payable(worker)) == (0, 1000)
    assert Settlement.objects.get().matured_at == now
    assert Event.objects.filter(type="settlement.matured").count() == 1


def test_waits_for_the_deposit_behind_it(
    agent: Agent, worker: WorkerProfile, now: datetime.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = datetime.timedelta(days=7)
    monkeypatch.setitem(rules.DEPOSIT_MATURITY, "test_money", week)
    stories.accepted(stories.post_photo_bounty(agent, now=now), worker, now=now)
    ripe_at = Deposit.objects.get().confirmed_at
    assert ripe_at is not None
    assert maturing.mature_due(now=ripe_at + week - TICK) == 0
    assert ledger.earned(worker) == 1000
    assert maturing.mature_due(now=ripe_at + week) == 1
    assert ledger.payable(worker) == 1000


def test_waits_for_the_challenge_window(
    agent: Agent, worker: WorkerProfile, now: datetime.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime.timedelta(days=1)
    monkeypatch.setitem(rules.CHALLENGE_WINDOW, "photo", day)
    stories.accepted(stories.post_photo_bounty(agent, now=now), worker, now=now)
    assert maturing.mature_due(now=now + day - TICK) == 0
    assert maturing.mature_due(now=now + day) == 1


def test_is_nothing_after_an_unpaid_settlement(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    submission = stories.submit(stories.claim(stories.post_photo_bounty(agent, now=now), worker, now=now), now=now)
    stories.settle(submission, "INCONCLUSIVE", now=now)
    assert maturing.mature_due(now=now + datetime.timedelta(days=365)) == 0
