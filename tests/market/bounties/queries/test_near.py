"""Open tasks near a place: it ..."""

import datetime
import uuid

import pytest

from market.accounts.models import Agent, User
from market.bounties import cancellation, improving, locks, queries
from market.common.money import Money
from tasks import geo
from tasks.models import Mode, WorkerProfile
from tests import people, stories

LATITUDE, LONGITUDE = stories.PLACE


def near(worker: WorkerProfile, now: datetime.datetime, radius_m: float = 25_000) -> list[queries.Listing]:
    return queries.open_near(worker=worker, latitude=LATITUDE, longitude=LONGITUDE, radius_m=radius_m, now=now)


def test_sorts_by_distance_and_says_what_it_pays(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    for north in (0.1, 0.0, 0.02):
        stories.post_photo_bounty(agent, now=now, latitude=LATITUDE + north, task_time_s=900)
    found = near(worker, now)
    assert [round(listing.distance_m or 0) for listing in found] == [
        0,
        round(geo.haversine_m(0, 0, 0.02, 0)),
        round(geo.haversine_m(0, 0, 0.1, 0)),
    ]
    assert (found[0].reward, found[0].negative_fee, found[0].reward_per_hour) == (
        Money(1000, "USD"),
        Money(500, "USD"),
        Money(4000, "USD"),
    )


def test_leaves_out_what_is_farther(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    stories.post_photo_bounty(agent, now=now, latitude=LATITUDE + 0.1)
    distance_m = geo.haversine_m(LATITUDE, LONGITUDE, LATITUDE + 0.1, LONGITUDE)
    assert near(worker, now, radius_m=distance_m - 1) == []
    assert len(near(worker, now, radius_m=distance_m + 1)) == 1


def test_shows_only_what_this_worker_may_claim(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    taken = stories.post_photo_bounty(agent, now=now)
    stories.claim(taken, people.open_worker(), now=now)
    his = stories.post_photo_bounty(agent, slots=2, now=now)
    stories.claim(his, worker, now=now)
    cancelled = stories.post_photo_bounty(agent, now=now)
    cancellation.cancel(bounty=cancelled, agent=agent, now=now)
    stories.draft_photo_bounty(agent, now=now)
    stories.post_photo_bounty(agent, now=now, opens_at=now + datetime.timedelta(hours=1))
    assert near(worker, now) == []
    assert near(people.open_worker(user=User.objects.get(pk=agent.owner_id)), now) == []
    assert near(people.open_worker(mode=Mode.LIVE), now) == []
    assert [listing.bounty.pk for listing in near(people.open_worker(), now)] == [his.pk]
    assert near(people.open_worker(), his.task.closes_at) == []


def test_shows_the_offer_that_stands(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    improving.improve(bounty=bounty, agent=agent, reward=Money(1500, "USD"), now=now)
    assert near(worker, now)[0].reward == Money(1500, "USD")
    assert queries.reward_of(bounty.task_id) == Money(1500, "USD")


def test_shows_one_task_that_was_listed(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    draft = stories.draft_photo_bounty(agent, now=now)
    assert queries.listing_of(task_id=bounty.task_id, mode="test").bounty == bounty
    for task_id, mode in ((bounty.task_id, "live"), (draft.task_id, "test"), (uuid.uuid4(), "test")):
        with pytest.raises(locks.NoBounty):
            queries.listing_of(task_id=task_id, mode=mode)
    assert len(queries.open_anywhere(mode="test", now=now)) == 1
    assert len(queries.open_near_for_anyone(mode="test", latitude=LATITUDE, longitude=LONGITUDE, now=now)) == 1
