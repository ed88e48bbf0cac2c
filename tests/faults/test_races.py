"""Two transitions at the same moment, and a stampede: both end as if one had come after the other."""

import datetime
import functools
import random
import uuid
from unittest import mock

import pytest

from market.bounties import locks
from market.bounties.models import Bounty
from market.ledger import audit
from tasks import claims
from tasks.models import Claim, Slot, Task, WorkerProfile
from tests import people
from tests.faults import pairs, stampede, states, transitions

pytestmark = pytest.mark.django_db(transaction=True)

# Far more than it takes: a control ends with the first violation.
MOST_ROUNDS = 300


def test_every_transition_is_raced_and_ends_like_one_after_the_other() -> None:
    """Each with itself, and a share of all other pairs; the command races all of them, and oftener."""
    report = pairs.race_all(seed=1, rounds=1, share=0.05)
    assert report.violations == []


def test_two_processes_share_the_pairs() -> None:
    report = pairs.race_all(seed=1, rounds=2, names=("payable", "payout paid by the bank"), processes=2)
    assert report.violations == []
    assert report.figures == {"pairs": 6, "races": 12, "states": 2, "edges of a status taken in a race": 1}


def test_a_scene_is_put_back_as_it_was() -> None:
    agent = people.open_agent()
    people.top_up(agent)
    with pairs.stage_of("accepted, not applied", agent) as stage:
        scene = stage.scene()
        before = states.read()
        transitions.apply_the_verdict(scene)
        transitions.claim_as_ben(scene)
        scene.claims.clear()
        assert states.read() != before

        again = stage.scene()
        assert states.read() == before
        assert (again.now, len(again.claims)) == (scene.now, 1)
    assert Bounty.objects.count() == 0
    assert audit.audit().breaches == ()


def test_an_edge_that_no_race_takes_is_named() -> None:
    taken = pairs.every_edge()
    with mock.patch.dict(Bounty.EDGES, {Bounty.Status.FILLED: {Bounty.Status.SETTLED, Bounty.Status.OPEN}}):
        assert pairs.untaken(taken) == ["no raced transition takes bounties_bounty FILLED>OPEN"]


def unlocked(bounty_id: uuid.UUID) -> Bounty:
    return Bounty.objects.select_related("task", "agent").get(pk=bounty_id)


def looked_at_then_written(*, claim: Claim, is_retake: bool, now: datetime.datetime) -> None:
    """What `tasks.claims.hand_in` would be without its conditional UPDATE."""
    if Claim.objects.get(pk=claim.pk).status != Claim.Status.ACTIVE:
        raise claims.StaleClaim
    Claim.objects.filter(pk=claim.pk).update(status=Claim.Status.SUBMITTED)
    Slot.objects.filter(pk=claim.slot_id).update(lease_until=None)


@pytest.mark.parametrize(
    ("planted", "state", "steps"),
    [
        pytest.param(
            functools.partial(mock.patch.object, locks, "lock_bounty", unlocked),
            "open",
            (transitions.cancel, transitions.raise_the_reward),
            id="a bounty that is not locked",
        ),
        pytest.param(
            functools.partial(mock.patch.object, claims, "hand_in", looked_at_then_written),
            "claimed",
            (transitions.submit, transitions.submit_another_photo),
            id="a claim that is looked at, then written",
        ),
    ],
)
def test_a_guard_that_is_taken_away_is_missed(
    planted: "functools.partial[mock._patch[object]]", state: str, steps: tuple[transitions.Step, transitions.Step]
) -> None:
    """Controls: the judgement of a race finds what its guard is there for."""
    agent = people.open_agent()
    people.top_up(agent, "1000000.00")
    chance = random.Random(1)
    found: list[str] = []
    with planted(), pairs.Racers() as racers, pairs.stage_of(state, agent) as stage:
        for _ in range(MOST_ROUNDS):
            found = pairs.run_pair(state, steps, stage=stage, racers=racers, chance=chance, rounds=1)
            if found:
                break
    assert found


def test_a_stampede_has_one_winner_a_slot() -> None:
    report = stampede.run(seed=1, claimants=64, bounties=6)
    assert report.violations == []
    assert report.figures["winners"] == report.figures["slots"]


def test_a_stampede_past_the_row_locks_is_found_out() -> None:
    """A control: a slot that is read as free, then taken."""

    def take_slot(task: Task, worker: WorkerProfile, *, lease_s: int, now: datetime.datetime) -> Slot:
        slot = Slot.objects.filter(task=task, lease_state="READY").first()
        if slot is None:
            raise claims.AllTaken("Every slot is taken.")
        Slot.objects.filter(pk=slot.pk).update(lease_state="LEASED", token=slot.token + 1)
        slot.token += 1
        return slot

    with mock.patch.object(claims, "_take_slot", take_slot):
        assert any(stampede.run(seed=seed, claimants=64, bounties=4).violations for seed in range(20))
