"""Many claimants who run for few bounties: each slot has one winner, and nobody meets anything but a refusal."""

import functools
import random
import time
import uuid
from collections import Counter

from market.accounts.models import User
from market.bounties.models import Bounty
from market.ledger import audit
from tasks import claims
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, WorkerProfile
from tests import people, racing, stories
from tests.faults import campaign

# How many bounties one claimant tries before he goes home.
MOST_TRIES = 20


def run(*, seed: int, claimants: int, bounties: int) -> campaign.Report:
    """Let claimants take whatever they get of the bounties, each in an order of his own; report how long a claim took."""
    chance = random.Random(f"{seed} stampede")
    agent = people.open_agent()
    people.top_up(agent, "1000000.00")
    opened = [stories.post_photo_bounty(agent, reward="1.00", slots=chance.randint(1, 3)) for _ in range(bounties)]
    workers = _open_workers(claimants)
    slots = Slot.objects.filter(task__bounty__in=opened)
    took_s: list[float] = []
    runs = [chance.sample(opened, min(len(opened), MOST_TRIES)) for _ in workers]
    results = racing.together([functools.partial(_try_all, worker, way, took_s) for worker, way in zip(workers, runs, strict=True)])
    met = Counter(word for result in results if isinstance(result, Counter) for word in result.elements())
    took_s.sort()
    report = campaign.Report(
        {
            "claimants": claimants,
            "bounties": bounties,
            "slots": slots.count(),
            "claims tried": len(took_s),
            "winners": met["won"],
            "p50 ms": round(took_s[len(took_s) // 2] * 1000, 1),
            "p99 ms": round(took_s[len(took_s) * 99 // 100] * 1000, 1),
        }
    )
    won = Claim.objects.filter(task__bounty__in=opened, status=Claim.Status.ACTIVE).values_list("slot", flat=True)
    broken = {
        "a claimant met something else than a refusal": sorted({repr(one) for one in results if isinstance(one, Exception)}),
        "a refusal gave another reason than that all is taken": sorted(set(met) - {"won", "AllTaken"}),
        "a slot has two winners": [slot for slot, many in Counter(won).items() if many > 1],
        "a claimant was told that he won, and has no claim": [met["won"]] if met["won"] != len(won) else [],
        "a slot has no winner": list(slots.exclude(lease_state=LeaseState.LEASED).values_list("pk", flat=True)),
        "the books are wrong": list(audit.audit().breaches),
    }
    report.violations += [f"seed {seed}, stampede: {words}: {found}" for words, found in broken.items() if found]
    return report


def _open_workers(many: int) -> list[WorkerProfile]:
    users = User.objects.bulk_create([User(username=f"claimant-{uuid.uuid4().hex}", password="!") for _ in range(many)])
    return WorkerProfile.objects.bulk_create([WorkerProfile(user=user, country="DE") for user in users])


def _try_all(worker: WorkerProfile, way: list[Bounty], took_s: list[float]) -> Counter[str]:
    met: Counter[str] = Counter()
    for bounty in way:
        began_s = time.monotonic()
        try:
            stories.claim(bounty, worker)
        except claims.NotClaimable as refused:
            met[type(refused).__name__] += 1
        else:
            met["won"] += 1
        took_s.append(time.monotonic() - began_s)
        if met["won"]:
            break
    return met
