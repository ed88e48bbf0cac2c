"""Many claims at once: they ..."""

import datetime
import functools
import random
from collections import Counter

from market.accounts.models import Agent
from market.bounties import claiming
from tasks import claims
from tasks.models import Claim, Slot
from tests import people, racing, stories

WORKERS, SLOTS = 64, [1, 2, 3, 4]


def test_win_as_often_as_there_are_slots(rich_agent: Agent, now: datetime.datetime) -> None:
    """64 workers, 10 slots of 4 bounties; each worker tries tasks in his own order until he gets one."""
    bounties = [stories.post_photo_bounty(rich_agent, reward="1.00", slots=count, now=now) for count in SLOTS]
    workers = [people.open_worker() for _ in range(WORKERS)]
    chance = random.Random(7)

    def try_all(worker_number: int) -> Counter[str]:
        met: Counter[str] = Counter()
        for bounty in chance.sample(bounties, len(bounties)):
            try:
                claiming.claim(task_id=bounty.task_id, worker=workers[worker_number], now=now)
            except claims.NotClaimable as refused:
                met[type(refused).__name__] += 1
            else:
                met["won"] += 1
                return met
        return met

    met = racing.together([functools.partial(try_all, number) for number in range(WORKERS)])
    assert [result for result in met if isinstance(result, Exception)] == []
    assert sum(result["won"] for result in met if isinstance(result, Counter)) == sum(SLOTS)
    assert {name for result in met if isinstance(result, Counter) for name in result} == {"won", "AllTaken"}
    assert Claim.objects.filter(status=Claim.Status.ACTIVE).count() == Slot.objects.filter(lease_state="LEASED").count() == sum(SLOTS)
    assert max(Counter(Claim.objects.values_list("slot", flat=True)).values()) == 1


def test_of_one_worker_stay_within_his_limit(rich_agent: Agent, now: datetime.datetime) -> None:
    worker = people.open_worker(accepted_count=5)
    bounties = [stories.post_photo_bounty(rich_agent, reward="1.00", now=now) for _ in range(12)]
    results = racing.together([functools.partial(claiming.claim, task_id=each.task_id, worker=worker, now=now) for each in bounties])
    assert sum(isinstance(result, Claim) for result in results) == 2
    assert {type(result) for result in results} == {Claim, claims.TooManyOpenClaims}
    assert Claim.objects.count() == 2


def test_of_one_worker_on_one_task_are_one(rich_agent: Agent, now: datetime.datetime) -> None:
    worker = people.open_worker(accepted_count=50)
    bounty = stories.post_photo_bounty(rich_agent, reward="1.00", slots=8, now=now)
    results = racing.together([functools.partial(claiming.claim, task_id=bounty.task_id, worker=worker, now=now)] * 8)
    assert {result.pk for result in results if isinstance(result, Claim)} == set(Claim.objects.values_list("pk", flat=True))
    assert Claim.objects.count() == 1
