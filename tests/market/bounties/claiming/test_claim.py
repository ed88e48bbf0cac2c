"""Claiming a task: it ..."""

import datetime
import uuid

import pytest

from market.accounts.models import Agent, User
from market.bounties import cancellation, claiming, disputes, submitting
from market.bounties.models import Bounty
from tasks import claims, geo, queries
from tasks.leases import LeaseState
from tasks.models import Claim, Mode, Slot, Submission, WorkerProfile
from tests import people, stories

HOUR = datetime.timedelta(hours=1)


def refused(why: type[claims.NotClaimable], task_id: uuid.UUID, worker: WorkerProfile, now: datetime.datetime) -> None:
    before = list(Slot.objects.order_by("pk").values())
    with pytest.raises(why):
        claiming.claim(task_id=task_id, worker=worker, now=now)
    assert list(Slot.objects.order_by("pk").values()) == before
    assert not Claim.objects.filter(worker=worker, task_id=task_id, status=Claim.Status.ACTIVE).exists()


def test_gives_one_slot_for_the_way_and_the_work(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now, task_time_s=900)
    claim = stories.claim(bounty, worker, now=now)
    assert claim.expires_at == now + datetime.timedelta(seconds=geo.travel_estimate_s(0) + 900)
    assert claim.terms_hash == bounty.terms_hash
    slot = Slot.objects.get(pk=claim.slot_id)
    assert (slot.lease_state, slot.token, slot.lease_holder) == (LeaseState.LEASED, claim.slot_token, f"worker:{worker.pk}")
    assert Slot.objects.filter(lease_state=LeaseState.READY).count() == 1


def test_gives_more_time_to_who_comes_from_farther(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=3, now=now)
    latitude, longitude = stories.PLACE

    def expires_at(north: float) -> datetime.datetime:
        worker = people.open_worker()
        claim = claiming.claim(task_id=bounty.task_id, worker=worker, latitude=latitude + north, longitude=longitude, now=now)
        return claim.expires_at

    lasts = [expires_at(north) for north in (0.0, 0.01, 0.05)]
    assert lasts[0] < lasts[1] < lasts[2]


def test_keeps_only_a_coarse_cell_of_where_the_worker_is(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    claim = stories.claim(stories.post_photo_bounty(agent, now=now), worker, now=now)
    assert claim.from_h3_cell == geo.coarse_cell(*stories.PLACE)
    assert not {field.name for field in Claim._meta.get_fields()} & {"latitude", "longitude"}


def test_ends_with_the_task_at_the_latest(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now, deadline=now + HOUR)
    assert stories.claim(bounty, worker, now=now + HOUR - datetime.timedelta(seconds=90)).expires_at == now + HOUR


def test_returns_the_same_claim_to_the_same_worker(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    assert stories.claim(bounty, worker, now=now).pk == stories.claim(bounty, worker, now=now).pk
    assert Slot.objects.filter(lease_state=LeaseState.LEASED).count() == 1


def test_refuses_when_every_slot_is_taken(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    stories.claim(bounty, people.open_worker(), now=now)
    refused(claims.AllTaken, bounty.task_id, worker, now)


def test_refuses_at_the_end_of_the_window(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now, deadline=now + HOUR)
    refused(claims.NotListed, bounty.task_id, worker, now + HOUR)
    refused(claims.NotListed, bounty.task_id, worker, now + HOUR - datetime.timedelta(microseconds=1))
    stories.claim(bounty, worker, now=now + HOUR - datetime.timedelta(seconds=1))


def test_refuses_before_the_window_opens(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now, opens_at=now + HOUR)
    refused(claims.NotListed, bounty.task_id, worker, now + HOUR - datetime.timedelta(microseconds=1))
    stories.claim(bounty, worker, now=now + HOUR)


def test_refuses_ids_that_nobody_may_claim(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    unfunded = stories.draft_photo_bounty(agent, now=now)
    cancelled = stories.post_photo_bounty(agent, now=now)
    cancellation.cancel(bounty=cancelled, agent=agent, now=now)
    for task_id in (uuid.uuid4(), unfunded.task_id, cancelled.task_id):
        refused(claims.NotListed, task_id, worker, now)


def test_refuses_the_owner_of_the_task(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    refused(claims.OwnTask, bounty.task_id, people.open_worker(user=User.objects.get(pk=agent.owner_id)), now)


def test_keeps_test_and_live_apart(agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    refused(claims.NotListed, bounty.task_id, people.open_worker(mode=Mode.LIVE), now)


def test_refuses_a_suspended_worker(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    worker.is_suspended = True
    worker.save()
    refused(claims.WorkerSuspended, bounty.task_id, worker, now)


def test_refuses_a_worker_from_an_embargoed_country(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    worker.country = "KP"
    worker.save()
    refused(claiming.ResidenceNotServed, bounty.task_id, worker, now)


@pytest.mark.parametrize(("accepted_count", "limit"), [(0, 1), (4, 1), (5, 2), (10, 3), (19, 4), (20, 5), (1000, 5)])
def test_allows_more_open_claims_to_a_longer_record(agent: Agent, now: datetime.datetime, accepted_count: int, limit: int) -> None:
    worker = people.open_worker(accepted_count=accepted_count)
    bounties = [stories.post_photo_bounty(agent, reward="1.00", now=now) for _ in range(limit + 1)]
    for bounty in bounties[:limit]:
        stories.claim(bounty, worker, now=now)
    refused(claims.TooManyOpenClaims, bounties[limit].task_id, worker, now)


def test_counts_work_that_waits_for_its_verdict_as_open(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    first, second = (stories.post_photo_bounty(agent, now=now) for _ in range(2))
    submission = stories.submit(stories.claim(first, worker, now=now), now=now)
    refused(claims.TooManyOpenClaims, second.task_id, worker, now)
    stories.settle(submission, now=now)
    stories.claim(second, worker, now=now)


def test_gives_one_slot_to_a_person(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    stories.accepted(bounty, worker, now=now)
    refused(claims.AlreadyClaimed, bounty.task_id, worker, now)


def rejected_without_retake(bounty: Bounty, worker: WorkerProfile, now: datetime.datetime) -> Submission:
    """A rejection that may be appealed, under a claim whose retake the worker has dropped."""
    submission = stories.rejected(bounty, worker, now=now)
    retaken = submitting.start_retake(claim=submission.claim, worker=worker, now=now)
    claiming.drop(claim=retaken, worker=worker, now=now)
    submission.refresh_from_db()
    return submission


def test_gives_no_second_slot_to_who_dropped_his_retake(agent: Agent, now: datetime.datetime) -> None:
    """Or an appeal would pay him twice for one task."""
    worker = people.open_worker(accepted_count=20)
    bounty = stories.post_photo_bounty(agent, slots=2, now=now)
    stories.appeal(rejected_without_retake(bounty, worker, now), now=now)
    refused(claims.AlreadyClaimed, bounty.task_id, worker, now)
    assert list(queries.open_tasks_for(worker, now=now)) == []


def test_counts_a_slot_that_is_kept_for_an_appeal_as_open(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    """Or one worker could keep any number of slots for days by dropping his retakes."""
    first, second = (stories.post_photo_bounty(agent, now=now) for _ in range(2))
    submission = rejected_without_retake(first, worker, now)
    refused(claims.TooManyOpenClaims, second.task_id, worker, now)
    disputes.waive(submission=submission, worker=worker, now=now)
    stories.claim(second, worker, now=now)


def test_is_not_hindered_by_the_workers_own_lapsed_claim(agent: Agent, worker: WorkerProfile, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(agent, now=now)
    first = stories.claim(bounty, worker, now=now)
    second = stories.claim(bounty, worker, now=first.expires_at)
    first.refresh_from_db()
    assert (first.status, second.status) == (Claim.Status.EXPIRED, Claim.Status.ACTIVE)
