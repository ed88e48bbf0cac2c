"""Whole markets from seeds: no invariant breaks, a seed repeats itself, and planted bugs are found."""

import pytest

from tests.faults import market
from tests.faults.simulation import bugs, world

# Bugs of every part of the market with a seed that shows them soon; all others by `python -m tests.faults.market --bugs`.
SOON = {"fee_twice": 1, "taken_slot_claimed": 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", [1, 2])
def test_keeps_every_invariant_until_all_has_ended(seed: int) -> None:
    lived = world.World(seed).live(250)

    assert lived.violations == [], market.again(seed, lived.steps)
    assert lived.steps == 250


@pytest.mark.django_db(transaction=True)
def test_repeats_itself() -> None:
    first, again, other = (world.World(seed).live(60) for seed in (5, 5, 6))

    assert first.trace == again.trace != other.trace


@pytest.mark.django_db(transaction=True)
@pytest.mark.broken_books
@pytest.mark.parametrize("name", SOON)
def test_finds_planted_bug(name: str) -> None:
    assert market.find(name, seeds=range(SOON[name], SOON[name] + 1), steps=400) is not None


def test_plants_at_least_fifteen_bugs() -> None:
    assert len(bugs.BUGS) >= 15
