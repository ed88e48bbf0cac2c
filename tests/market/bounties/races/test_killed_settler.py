"""A process that settles and is killed with SIGKILL again and again: it ..."""

import datetime
import random

from market.accounts.models import Agent
from market.bounties import settlement
from market.bounties.models import Bounty, Settlement
from tests import people, processes, stories
from tests.market.bounties import ledger
from verification.models import Verdict

SUBMISSIONS, KILLS = 24, 4

SETTLER = """
from market.bounties import settlement
from tasks import clock
tell("ready")
while settlement.apply_due(now=clock.now(), limit=1):
    tell("settled")
sys.stdin.read()
"""


def test_loses_nothing_and_pays_nothing_twice(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, reward="1.00", slots=SUBMISSIONS, now=now)
    workers = [people.open_worker() for _ in range(SUBMISSIONS)]
    for worker in workers:
        stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
    chance = random.Random(11)
    for _ in range(KILLS):
        with processes.python(SETTLER) as child:
            processes.wait_for_word(child, "ready")
            for _ in range(chance.randrange(1, 5)):
                processes.wait_for_word(child, "settled")
        # Killed wherever it was: in the middle of the next one.
    assert 0 < Settlement.objects.count() < SUBMISSIONS
    while settlement.apply_due(now=now):
        pass
    bounty.refresh_from_db()
    assert bounty.status == Bounty.Status.SETTLED
    assert (Settlement.objects.count(), Verdict.objects.filter(applied_at=None).count()) == (SUBMISSIONS, 0)
    assert [ledger.earned(worker) for worker in workers] == [100] * SUBMISSIONS
    assert (ledger.fees(), ledger.held(bounty), ledger.available(rich_agent)) == (10 * SUBMISSIONS, 0, 1_000_000 - 110 * SUBMISSIONS)
