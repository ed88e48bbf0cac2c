"""A reward that is raised while the work is being handed in: whichever comes first, the work is judged and paid for the new one."""

import datetime

import pytest
from django.db import transaction

from market.accounts.models import Agent
from market.bounties import improving
from market.bounties.models import Offer
from market.common.money import Money
from tasks.models import Submission
from tests import people, racing, stories
from tests.market import in_turn
from tests.market.bounties import ledger
from verification.models import Case


@pytest.mark.parametrize("is_raised_first", [False, True])
def test_pays_the_new_price(rich_agent: Agent, now: datetime.datetime, is_raised_first: bool) -> None:
    bounty = stories.post_photo_bounty(rich_agent, reward="1.00", slots=2, now=now)
    claim = stories.claim(bounty, people.open_worker(), now=now)

    def hand_in() -> Submission:
        return stories.submit(claim, now=now)

    def raise_reward() -> Offer:
        return improving.improve(bounty=bounty, agent=rich_agent, reward=Money(5000, "USD"), now=now)

    outcomes = in_turn.second_waits_for(raise_reward, hand_in) if is_raised_first else in_turn.second_waits_for(hand_in, raise_reward)
    assert {type(outcome) for outcome in outcomes} == {Submission, Offer}
    assert Case.objects.get().max_false_accept == pytest.approx(0.002)
    stories.settle(Submission.objects.select_related("claim", "task").get(), now=now)
    assert (ledger.earned(claim.worker), ledger.held(bounty)) == (5000, 5500 + 50)


def test_lets_others_hand_in_at_the_same_time(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, slots=2, now=now)
    first, second = (stories.claim(bounty, people.open_worker(), now=now) for _ in range(2))
    with transaction.atomic():
        stories.submit(first, now=now)
        [other] = racing.together([lambda: stories.submit(second, now=now)])
    assert isinstance(other, Submission)
