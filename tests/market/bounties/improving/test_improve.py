"""Improving an offer: it ..."""

import datetime
from collections.abc import Callable

import pytest

from market.accounts.models import Agent, ApiKey, User
from market.bounties import cancellation, improving, locks, posting, pricing, spending
from market.bounties.models import Bounty, Offer
from market.common.money import Money
from market.escrow import holds
from market.policy import mandates
from tasks import clock
from tasks.models import Task, WorkerProfile
from tests import people, stories
from tests.market.bounties import ledger
from verification.models import Case

HOUR = datetime.timedelta(hours=1)
FORBIDDEN = "Send me the one-time password from the SMS"


def test_holds_the_difference_for_every_slot_that_waits(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=3, now=now)
    stories.accepted(bounty, people.open_worker(), now=now)
    claimed = stories.claim(bounty, people.open_worker(), now=now)
    for _ in range(2):  # The same improvement again changes nothing.
        offer = improving.improve(bounty=bounty, agent=agent, reward=Money(1500, "USD"), now=now)
        assert (offer.version, offer.reward_minor, offer.fee_minor) == (2, 1500, 150)
    assert ledger.held(bounty) == 2 * 1650 + 500
    stories.settle(stories.submit(claimed, now=now), now=now)
    assert ledger.earned(claimed.worker) == 1500


def test_asks_for_a_surer_verdict_on_the_higher_price(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    improving.improve(bounty=bounty, agent=agent, reward=Money(5000, "USD"), now=now)
    stories.submit(stories.claim(bounty, worker, now=now), now=now)
    assert Case.objects.get().max_false_accept == pytest.approx(0.002)


def test_gives_more_time_and_leaves_the_terms_frozen(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    closes_at = bounty.task.closes_at
    improving.improve(bounty=bounty, agent=agent, deadline=closes_at + HOUR, now=now)
    cancellation.close_due(now=closes_at)
    bounty = Bounty.objects.select_related("task").get()
    assert (bounty.status, bounty.task.closes_at) == (Bounty.Status.OPEN, closes_at + HOUR)
    assert datetime.datetime.fromisoformat(bounty.task.terms["closes_at"]) == closes_at
    claim = stories.claim(bounty, worker, now=closes_at)
    assert claim.terms_hash == bounty.terms_hash


@pytest.mark.parametrize(
    ("reward", "later"), [(Money(999, "USD"), None), (None, -HOUR), (Money(1500, "USD"), -HOUR), (Money(1500, "EUR"), None)]
)
def test_never_makes_it_worse(agent: Agent, now: datetime.datetime, reward: Money | None, later: datetime.timedelta | None) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    deadline = None if later is None else bounty.task.closes_at + later
    with pytest.raises(improving.NotImprovable):
        improving.improve(bounty=bounty, agent=agent, reward=reward, deadline=deadline, now=now)
    assert (Offer.objects.count(), ledger.held(bounty)) == (1, 1600)


@pytest.mark.parametrize(("reward", "days"), [(Money(100_001, "USD"), None), (None, 61)])
def test_stays_within_the_limits(agent: Agent, now: datetime.datetime, reward: Money | None, days: int | None) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    deadline = None if days is None else now + datetime.timedelta(days=days)
    with pytest.raises(pricing.BadOffer):
        improving.improve(bounty=bounty, agent=agent, reward=reward, deadline=deadline, now=now)


def test_is_refused_when_closing_and_past_the_deadline(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.claim(bounty, worker, now=now)
    with pytest.raises(improving.NotImprovable):
        improving.improve(bounty=bounty, agent=agent, deadline=bounty.task.closes_at + HOUR, now=bounty.task.closes_at)
    cancellation.cancel(bounty=bounty, agent=agent, now=now)
    with pytest.raises(improving.NotImprovable):
        improving.improve(bounty=bounty, agent=agent, reward=Money(1500, "USD"), now=now)
    assert ledger.held(bounty) == 1600


def test_moves_nothing_without_money_or_past_the_keys_limit(now: datetime.datetime, db: None) -> None:
    poor = people.open_agent()
    people.top_up(poor, "16.00")
    bounty = stories.post_photo_bounty(poor, now=now)
    with pytest.raises(holds.InsufficientFunds):
        improving.improve(bounty=bounty, agent=poor, reward=Money(1001, "USD"), now=now)
    bound = people.open_agent(limit_per_bounty_minor=1600)
    people.top_up(bound)
    limited = stories.post_photo_bounty(bound, now=now)
    with pytest.raises(mandates.SpendLimitExceeded):
        improving.improve(bounty=limited, agent=bound, reward=Money(1001, "USD"), now=now)
    assert (ledger.held(bounty), ledger.held(limited), Offer.objects.count()) == (1600, 1600, 2)


def test_is_closed_to_a_stranger(agent: Agent, stranger: User, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    with pytest.raises(locks.NoBounty):
        improving.improve(bounty=bounty, agent=stranger.agents.get(), reward=Money(1500, "USD"), now=now)


@pytest.mark.parametrize(("reward", "later"), [(Money(1500, "USD"), None), (None, HOUR)])
@pytest.mark.parametrize(
    ("loses_right", "refusal"),
    [
        (lambda: Agent.objects.update(is_suspended=True), posting.AgentSuspended),
        (lambda: ApiKey.objects.update(revoked_at=clock.now()), spending.KeyRevoked),
        (lambda: (Bounty.objects.update(policy_version="older"), Task.objects.update(title=FORBIDDEN)), improving.NotImprovable),
    ],
    ids=["suspended", "revoked", "other rules"],
)
def test_is_refused_to_whom_may_not_post(
    agent: Agent,
    now: datetime.datetime,
    reward: Money | None,
    later: datetime.timedelta | None,
    loses_right: Callable[[], object],
    refusal: type[Exception],
) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    loses_right()
    deadline = None if later is None else bounty.task.closes_at + later
    with pytest.raises(refusal):
        improving.improve(bounty=bounty, agent=agent, reward=reward, deadline=deadline, now=now)
    bounty.task.refresh_from_db()
    assert (Offer.objects.count(), ledger.held(bounty), bounty.task.closes_at) == (1, 1600, bounty.offers.get().deadline)


def test_asks_the_rules_again_only_when_they_have_changed(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    Bounty.objects.update(policy_version="older")
    assert improving.improve(bounty=bounty, agent=agent, reward=Money(1500, "USD"), now=now).version == 2
