"""Work of a campaign divided among processes: all of it is done once, in databases apart, and none is lost in silence."""

import os
import signal

import pytest
from django.db import connection

from market.accounts.models import User
from tests.faults import dividing, market
from tests.faults.simulation import world

pytestmark = pytest.mark.django_db(transaction=True)


def test_does_every_unit_once_in_a_database_of_its_process() -> None:
    User.objects.create(username="there before")

    def work(unit: int) -> tuple[int, int, str]:
        User.objects.create(username=f"of unit {unit}")
        return os.getpid(), User.objects.count(), str(connection.settings_dict["NAME"])

    done = dict(dividing.each(range(6), work, processes=2))

    results = [result for result in done.values() if not isinstance(result, dividing.Lost)]
    assert sorted(done) == list(range(6))
    assert len(results) == 6
    assert len({pid for pid, _, _ in results}) == len({name for _, _, name in results}) == 2
    for pid in {pid for pid, _, _ in results}:
        counts = [count for one, count, _ in results if one == pid]
        assert counts == list(range(2, 2 + len(counts)))
    assert User.objects.count() == 1


def test_a_process_that_dies_or_raises_is_told_of() -> None:
    def work(unit: str) -> str:
        if unit == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "raises":
            raise ValueError(unit)
        return "done"

    done = dict(dividing.each(["dies", "is done", "raises", "is never begun"], work, processes=2))

    lost = {unit: result.why for unit, result in done.items() if isinstance(result, dividing.Lost)}
    assert lost == {
        "dies": "the process that was at it ended with status -9",
        "raises": "the process that was at it ended with status 70",
        "is never begun": "no process was left that could do it",
    }
    assert done["is done"] == "done"


def test_leaves_no_database_behind() -> None:
    def names() -> set[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE current_database() || '%'")
            return {name for (name,) in cursor.fetchall()}

    before = names()
    for _ in dividing.each(range(4), lambda unit: unit, processes=2):
        break

    assert names() == before


def test_two_processes_live_the_same_lives_as_one() -> None:
    def trace(seed: int) -> str:
        lived = world.World(seed).live(40)
        assert lived.violations == [], market.again(seed, lived.steps)
        return lived.trace

    alone = dict(dividing.each([11, 12], trace, processes=1))

    assert dict(dividing.each([11, 12], trace, processes=2)) == alone
